"""Sessions: who showed a token in a browser, and what they may do until they leave or the session ends.

They are kept in memory: after a restart of the service people log in once more.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from http.cookies import CookieError, SimpleCookie
from typing import Final

from self_healing.api.tokens import Scopes

COOKIE: Final = "self_healing_session"
LASTS: Final = timedelta(hours=12)
MOST: Final = 1_000
"""So many at once; the oldest ends for one more."""


class Sessions:
    """Who is logged in.

    Args:
        now: the present instant.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._known: dict[bytes, tuple[datetime, Scopes]] = {}  # by the hash of the id: until when, and what they may

    def begin(self, scopes: Scopes) -> str:
        """The secret id of a new session, whose holder may do that."""
        self._known = {each: known for each, known in self._known.items() if known[0] > self._now()}
        if len(self._known) >= MOST:
            del self._known[next(iter(self._known))]
        id = secrets.token_urlsafe(32)
        self._known[_digest(id)] = (self._now() + LASTS, scopes)
        return id

    def scopes(self, id: str) -> Scopes | None:
        """What the holder of that id may do; None when there is no such session, or no more."""
        until, scopes = self._known.get(_digest(id), (None, None))
        return scopes if until is not None and until > self._now() else None

    def end(self, id: str) -> None:
        """Let nobody do anything by that id any more."""
        self._known.pop(_digest(id), None)


def shown_by(cookies: str) -> str | None:
    """The id of the session that the value of Cookie shows."""
    try:
        found = SimpleCookie(cookies).get(COOKIE)
    except CookieError:
        return None
    return None if found is None else found.value


def _digest(id: str) -> bytes:
    return hashlib.sha256(id.encode("utf-8", "surrogateescape")).digest()
