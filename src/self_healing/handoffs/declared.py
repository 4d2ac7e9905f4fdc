"""What is declared of channels: ``[actions.channels.NAME]``, one table each, told apart by ``kind``."""

from __future__ import annotations

from typing import Annotated, Final, Literal, get_args

from pydantic import AfterValidator, Field

from self_healing.spec import Declared, Duration

Timeout = Annotated[Duration, Field(ge=1, le=300)]


def _variable(name: str) -> str:
    if not name.isidentifier() or not name.isascii():
        raise ValueError("allowed is the name of an environment variable, never the secret itself")
    return name


Variable = Annotated[str, AfterValidator(_variable)]
"""The name of the environment variable that holds a secret."""

Words = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]


class ChannelDeclared(Declared):
    """What every channel has.

    Args:
        agents: whose handoffs go this way.
    """

    agents: tuple[str, ...] = ()


class FileDeclared(ChannelDeclared):
    """Nothing but the file that every handoff has."""

    kind: Literal["file"]


class CommandDeclared(ChannelDeclared):
    """A program that gets each handoff as JSON on its standard input.

    Args:
        argv: the program and its arguments, as they are; no shell reads them.
        environment: names of the variables that the program may see; nothing else is passed on.
        timeout: after so long it is killed, with all that it started.
    """

    kind: Literal["command"]
    argv: Words
    environment: tuple[Variable, ...] = ("PATH", "HOME", "LANG")
    timeout: Timeout = 20


class PythonDeclared(ChannelDeclared):
    """A function of yours that is called with each handoff.

    Args:
        function: the name of an entry point in the group `self_healing.channels`, or `module:function`.
    """

    kind: Literal["python"]
    function: str = Field(min_length=1)


ChannelSettings = Annotated[FileDeclared | CommandDeclared | PythonDeclared, Field(discriminator="kind")]
"""Any kind of channel."""

CHANNEL_KINDS: Final[tuple[type[ChannelDeclared], ...]] = get_args(get_args(ChannelSettings)[0])
"""The model of each kind."""
