"""What is declared of channels: ``[actions.channels.NAME]``, one table each, told apart by ``kind``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from typing import Annotated, Final, Literal, get_args

from pydantic import AfterValidator, Field

from self_healing.spec import ActionSpec, Declared, Duration, Flag
from self_healing.spec.outside import VISIBLE, Networks, Url, Variable, Words

Timeout = Annotated[Duration, Field(ge=1, le=300)]


def _installed(module: str, extra: str) -> Callable[[str], str]:
    def check(kind: str) -> str:
        if find_spec(module) is None:
            raise ValueError(f"needs the extra {extra}: pip install 'agency-self-healing[{extra}]'")
        return kind

    return check


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
    environment: tuple[Variable, ...] = VISIBLE
    timeout: Timeout = 20


FUNCTIONS: Final = "self_healing.channels"
"""The group of entry points that functions are found in."""


class PythonDeclared(ChannelDeclared):
    """A function of yours that is called with each handoff.

    Args:
        function: the name of an entry point in the group `self_healing.channels`, or `module:function`.
    """

    kind: Literal["python"]
    function: str = Field(min_length=1)


class WebhookDeclared(ChannelDeclared):
    """A web server that gets each handoff as a signed CloudEvent.

    Args:
        url: where it is posted; plain http only to networks that `allow` names.
        secret_env: the variable with the secret of Standard Webhooks (`whsec_` and base64).
        allow: networks that are no public ones and may be sent to all the same.
        idempotent: the receiver drops what it has seen before, by `webhook-id`; it may be sent twice.
        timeout: for all of it, from the resolving of the name on.
    """

    kind: Literal["webhook"]
    url: Url
    secret_env: Variable
    allow: Networks = ()
    idempotent: Flag = False
    timeout: Timeout = 10


class A2aDeclared(ChannelDeclared):
    """An agent that speaks A2A, whose task is followed until it ends.

    Args:
        url: of the agent; its card is at `/.well-known/agent-card.json` beneath it.
        token_env: the variable with a token that is shown as `Authorization: Bearer TOKEN`; none when left out.
        poll: how often it is asked how its task stands.
        timeout: for one question or one message, the card included.
    """

    kind: Annotated[Literal["a2a"], AfterValidator(_installed("a2a", "a2a"))]
    url: Url
    token_env: Variable | None = None
    poll: Annotated[Duration, Field(ge=1)] = 5
    timeout: Timeout = 10


class AppriseDeclared(ChannelDeclared):
    """Any of the services that Apprise knows, to tell people.

    Args:
        urls_env: the variable with their addresses, separated by spaces.
        timeout: for all of them.
    """

    kind: Annotated[Literal["apprise"], AfterValidator(_installed("apprise", "notify"))]
    urls_env: Variable
    timeout: Timeout = 20


class PagerDutyDeclared(ChannelDeclared):
    """PagerDuty, to page people: one alert an incident, resolved with it.

    Args:
        routing_key_env: the variable with the integration's routing key.
        url: of Events v2, where it is another.
        allow: networks that are no public ones and may be sent to all the same.
        timeout: for one request.
    """

    kind: Literal["pagerduty"]
    routing_key_env: Variable
    url: Url = "https://events.pagerduty.com/v2/enqueue"
    allow: Networks = ()
    timeout: Timeout = 10


class AlertmanagerDeclared(ChannelDeclared):
    """Alertmanager: one alert an incident, said again every minute while it is open, resolved with it.

    Args:
        url: of Alertmanager; alerts go to `/api/v2/alerts` beneath it.
        allow: networks that are no public ones and may be sent to all the same.
        timeout: for one request.
    """

    kind: Literal["alertmanager"]
    url: Url
    allow: Networks = ()
    timeout: Timeout = 10


ChannelSettings = Annotated[
    FileDeclared
    | CommandDeclared
    | PythonDeclared
    | WebhookDeclared
    | A2aDeclared
    | AppriseDeclared
    | PagerDutyDeclared
    | AlertmanagerDeclared,
    Field(discriminator="kind"),
]
"""Any kind of channel."""

CHANNEL_KINDS: Final[tuple[type[ChannelDeclared], ...]] = get_args(get_args(ChannelSettings)[0])
"""The model of each kind."""


def unset(
    channels: Mapping[str, ChannelSettings],
    heartbeat: Declared,
    actions: Iterable[ActionSpec],
    environment: Mapping[str, str],
) -> list[str]:
    """A line for each variable that something declared names and nobody has set: what is sent so would fail.

    Args:
        channels: as they are declared, by name.
        heartbeat: as it is declared.
        actions: as they are declared, some of which call a web server.
        environment: the variables of the process that delivers.
    """
    naming: dict[str, Declared] = {f"channel {name}": channel for name, channel in channels.items()}
    naming |= {f"action {action.name}": action for action in actions} | {"heartbeat": heartbeat}
    return [
        f"{name}: {key} names {named}, and no such variable is set; set it for the service, and start that anew"
        for name, declared in naming.items()
        for key in type(declared).model_fields
        if key.endswith("_env") and (named := getattr(declared, key)) and not environment.get(named)
    ]
