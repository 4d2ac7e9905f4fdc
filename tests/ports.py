"""Services that tests start as processes open no port: several run at once, and others may have the usual ones."""

from __future__ import annotations

from self_healing.config import VARIABLES

WITHOUT_PORTS = {name: "false" for name, key in VARIABLES.items() if key.startswith("server.") and key.endswith("port")}
"""The environment of such a service."""
