"""Tokens: what the holder of one may do. Only their hashes are kept, and comparing takes the same time for any text."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Final

from self_healing.config import Scope, ServerSettings
from self_healing.errors import ConfigError

EVERYTHING: Final = frozenset(Scope)

Scopes = frozenset[Scope]


class Tokens:
    """Which tokens there are.

    Args:
        settings: what is declared.
        environ: the environment, of which the variables are read that the settings name.

    Raises:
        ConfigError: a variable is not set.
    """

    def __init__(self, settings: ServerSettings, environ: Mapping[str, str]) -> None:
        self.needed = settings.guarded
        self._known: list[tuple[bytes, Scopes]] = []
        if settings.token is not None:
            self._known.append((_digest(settings.token), EVERYTHING))
        for name, declared in settings.tokens.items():
            digest = bytes.fromhex(declared.sha256 or "")
            if declared.env is not None:
                digest = _digest(_secret(name, declared.env, environ))
            self._known.append((digest, frozenset(declared.scopes)))

    def scopes(self, shown: str) -> Scopes | None:
        """What the holder of a token may do; None when there is no such token."""
        digest, found = _digest(shown), None
        for known, scopes in self._known:  # all of them, whichever it is
            if hmac.compare_digest(known, digest):
                found = scopes
        return found

    def shown_by(self, authorization: str) -> Scopes | None:
        """What may be done by whoever sends that value of Authorization; None when it shows no token that there is."""
        scheme, _, shown = authorization.partition(" ")
        return self.scopes(shown.strip()) if scheme.lower() == "bearer" else None


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _secret(name: str, variable: str, environ: Mapping[str, str]) -> str:
    secret = environ.get(variable, "")
    if not secret.strip():
        raise ConfigError([f"server.tokens.{name}.env: {variable!r}: the variable is not set; set it, or give sha256"])
    return secret.strip()
