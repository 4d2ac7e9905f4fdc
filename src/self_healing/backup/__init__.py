"""Copies of the state: made while a service runs on it, looked through whole, and brought back where there is none."""

from __future__ import annotations

from self_healing.backup.making import backup
from self_healing.backup.manifest import Copy
from self_healing.backup.restoring import restore

__all__ = ["Copy", "backup", "restore"]
