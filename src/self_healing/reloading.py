"""Reloading: a running service follows its configuration when its files change, all of it or nothing.

Files are looked at once a second, by when they were written, their size and which file it is, and read once they have
stayed the same for two looks. What is refused leaves the loaded configuration in force.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from self_healing.config import Settings
from self_healing.documents import Documents, Signature, signature
from self_healing.errors import ConfigError, StorageError
from self_healing.loading import Loaded, Overrides, load_tested
from self_healing.problems import one_line

if TYPE_CHECKING:
    from self_healing.orchestrator import SelfHealingOrchestrator

LOOK_S = 1.0
"""How often files are looked at, in real seconds."""

RELOADS = "reloads"
"""The fact that keeps the newest reloads that changed something."""

RESTART_NEEDED = "restart_needed"
"""The fact that keeps what of the configuration takes a restart, a line each."""

MOST_RELOADS = 20
MOST_SHOWN = 5


REFUSED = "the configuration on disk is refused"
"""What the issue of health says while it is."""


def refusal(problems: Sequence[str], version: str) -> str:
    """The issue of health while the configuration on disk is refused."""
    more = len(problems) - 1
    further = f"; and {more} more {'line' if more == 1 else 'lines'}, which `self-healing config validate` shows"
    told = f"{problems[0]}{further if more else ''}"
    return f"{REFUSED}, and spec {version} stays in force: {told}"


def failure(error: Exception, done: str) -> str:
    """What is said of a configuration that could not be `done` (read, followed), for a reason that nobody foresaw."""
    return (
        f"it could not be {done} ({one_line(repr(error))}), and is tried again when a file of it changes, or on SIGHUP;"
        " reload_failed in the orchestrator's log says where"
    )


class Configuration:
    """Where the settings come from.

    Args:
        file: the configuration's, whether or not it is there.
        read: reads it, with the environment and the flags. Raises ConfigError.
    """

    def __init__(self, file: Path, read: Callable[[], Settings]) -> None:
        self.file = file
        self._read = read
        self.seen: Signature | None = None  # how the file was right before it was read last

    def settings(self) -> Settings:
        """The settings as they are now. Raises ConfigError."""
        self.seen = signature(self.file)
        return self._read()


class Reloader:
    """Lets a loop follow a configuration.

    Args:
        configuration: was read for the settings that the loop began with.
        loop: the loop of this moment.
        tell: hears what came of each reload in a word (reloaded, unchanged, restart, refused, failed), and of what: a
            call for each line.
    """

    def __init__(
        self,
        configuration: Configuration,
        loop: Callable[[], SelfHealingOrchestrator],
        tell: Callable[[str, str], None],
    ) -> None:
        self._configuration = configuration
        self._loop = loop
        self._tell = tell
        self._one = asyncio.Lock()  # at a time
        self._settling: dict[Path, Signature | None] | None = None  # how changed files were at the last look
        self._tried: dict[Path, Signature | None] = {}  # how the files were when they were read last
        self._again = False  # whether the last attempt was cut short
        self._remember(loop().loaded.documents)

    def _remember(self, documents: Documents, before: Mapping[Path, Signature | None] = MappingProxyType({})) -> None:
        """Remember how the files were that were read, and those of `before` that were not."""
        self._tried = {**before, **documents.seen, self._configuration.file: self._configuration.seen}

    async def look(self) -> bool:
        """Reload when files have changed and are no longer being written; whether they were read."""
        now = {path: signature(path) for path in self._tried}
        changed = [str(path) for path, seen in now.items() if seen != self._tried[path]]
        if not self._again and (not changed or now != self._settling):
            self._settling = now if changed else None
            return False
        self._settling = None
        await self.reload(f"{', '.join(changed)} changed" if changed else "the last attempt was cut short")
        return True

    async def reload(self, why: str) -> None:
        """Read the configuration anew and let the loop go on by it; what is refused changes nothing.

        Nor does what fails as nobody foresaw: the service goes on by what was in force, and tries again with the next
        change.

        Args:
            why: what asked for it.
        """
        async with self._one:
            self._again, documents = False, Documents()
            # Of what is in force, which a mistake elsewhere may keep from being read: to mend that is a change as well.
            before = {path: signature(path) for path in self._tried}
            try:
                settings, loaded = await self._load(documents)
            except Exception as error:  # a bug, or whatever the code raises that a person brings along
                self._remember(documents, before)
                self._refuse(error, "read", why)
                return
            self._remember(documents)
            try:
                reload = self._loop().reload(settings, loaded, why)
            except StorageError:
                self._again = True  # the service builds its loop anew by what was in force
                return
            except Exception as error:  # the same; the loop commits nothing any more, and is built anew as well
                self._refuse(error, "followed", why)
                return
        self._done([str(each) for each in reload.changes], [str(each) for each in reload.restart], why)

    async def _load(self, documents: Documents) -> tuple[Settings, Loaded]:
        """What the files declare, with the overrides in force once it is read and tried. Raises ConfigError."""
        while True:
            overrides = self._loop().overrides
            found = await asyncio.to_thread(self._read, overrides, documents)
            if self._loop().overrides == overrides:
                return found

    def _read(self, overrides: Overrides, documents: Documents) -> tuple[Settings, Loaded]:
        settings = self._configuration.settings()
        return settings, load_tested(settings, overrides, documents=documents)

    def _refuse(self, error: Exception, done: str, why: str) -> None:
        """The configuration could not be `done` (read, followed): say all that is wrong; what is in force stays."""
        loop = self._loop()
        told = {"why": why, "spec_version": loop.spec.version}
        if isinstance(error, ConfigError):
            loop.refused = tuple(error.problems)
            loop.logs.orchestrator.warning("reload_refused", **told, problems=error.problems)
            word = "refused"
        else:
            loop.refused = (failure(error, done),)
            loop.logs.orchestrator.error("reload_failed", **told, problems=list(loop.refused), exc_info=error)
            word = "failed"
        self._tell(word, f"{why}: spec {loop.spec.version} stays in force, for")
        for problem in loop.refused:
            self._tell(word, f"  {problem}")

    def _done(self, changes: Sequence[str], restart: Sequence[str], why: str) -> None:
        loop = self._loop()
        loop.logs.orchestrator.info("reloaded", why=why, spec_version=loop.spec.version, changes=list(changes))
        if restart:
            loop.logs.orchestrator.warning("restart_needed", changes=list(restart))
        more = len(changes) - MOST_SHOWN
        further = [f"and {more} more, which `self-healing status` shows"] if more > 0 else []
        if changes:
            self._tell("reloaded", f"{why}: {'; '.join([*changes[:MOST_SHOWN], *further])}")
        elif not restart:
            self._tell("unchanged", f"{why}: the files say what is in force, spec {loop.spec.version}")
        for each in restart:
            self._tell("restart", f"{why}: takes a restart: {each}")
