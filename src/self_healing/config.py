"""What can be configured, and all that is declared for it: each setting, and the spec of the files that they name."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from self_healing import plugins
from self_healing.actions.registry import read_actions
from self_healing.constitution.own import read_own
from self_healing.declarations import Values
from self_healing.documents import CEDAR, Read, read_document
from self_healing.errors import ConfigError
from self_healing.handoffs.declared import FUNCTIONS, ChannelSettings, PythonDeclared, Timeout
from self_healing.incidents.maintenance import read_maintenance
from self_healing.problems import one_line, shown, unknown
from self_healing.spec import MAX_GROUPS, WARM_UP_S, Declared, Duration, Limits, Spec, Whole
from self_healing.spec.outside import Networks, Variable, variable
from self_healing.triggers.declared import read_triggers

CONFIG_FILE = Path("self-healing.toml")
"""Read from the current directory when no other file is named."""

VARIABLE_PREFIX = "SELF_HEALING_"

FILE_CHANNEL = "file"


def _not_blank(value: Any) -> Any:
    """Refuse a blank text, which as a path would mean the current directory."""
    if isinstance(value, str) and not value.strip():
        raise ValueError("allowed is text that is not empty")
    return value


def _nameable(path: Path) -> Path:
    """Refuse what no file can be called."""
    if "\0" in str(path):
        raise ValueError("allowed is a path, which has no NUL in it")
    return path


_Path = Annotated[Path, BeforeValidator(_not_blank), AfterValidator(_nameable)]


class Mode(StrEnum):
    """Whether effects happen."""

    ACT = "act"  # they do
    OBSERVE = "observe"  # every stage runs, and they are recorded as what would have been done


class TelemetrySettings(Declared):
    """Where events come from."""

    dir: _Path = Field(default=Path("logs/telemetry"), description="directory of the fleet's event files; watched")
    keep: Annotated[Duration, Field(ge=86400)] = Field(
        default=7 * 86400, description="how long what came otherwise is kept once it was read; a day at least"
    )
    keep_bytes: Whole = Field(default=10 * 2**30, ge=0, description="how much of it is kept; the oldest goes first")
    junit_dirs: tuple[_Path, ...] = Field(default=(), description="folders of JUnit XML files; watched by the service")
    junit_agent: str = Field(default="", description="whose tests those are where a suite does not say")


class TriggerSettings(Declared):
    """What is watched for."""

    files: tuple[_Path, ...] = Field(default=(), description="files of [[trigger]] tables, laid over the defaults")
    tests: tuple[_Path, ...] = Field(
        default=(),
        description="files of [[test]] tables, run at each load beside the boundary tests; one that fails refuses it",
    )
    grid: Annotated[Duration, Field(ge=1, le=60)] = Field(
        default=1, description="how often triggers are evaluated; 1s to 60s"
    )
    max_groups: Whole = Field(
        default=MAX_GROUPS,
        ge=1,
        description="groups kept apart for each group_by; further ones share one, overflow; part of the spec version",
    )
    warm_up: Duration = Field(
        default=WARM_UP_S,
        description="after a start of the service, how long mere silence opens no incident; part of the spec version",
    )


class ActionSettings(Declared):
    """What is done."""

    files: tuple[_Path, ...] = Field(default=(), description="files of [[action]] tables, laid over the defaults")
    mode: Mode = Field(
        default=Mode.ACT, description="act, or observe: record only what would have been done; init writes observe"
    )
    fallback: Annotated[str, BeforeValidator(_not_blank)] = Field(
        default="Operator", description="the person who gets the handoffs that no agent may have"
    )
    channels: dict[str, ChannelSettings] = Field(
        default={}, description="a table each: how handoffs reach the agents that it names, beside their files"
    )
    fallback_channel: str = Field(
        default=FILE_CHANNEL, description="the channel of whoever no channel serves; file, or the name of one"
    )

    @field_validator("channels")
    @classmethod
    def _named(cls, channels: dict[str, ChannelSettings]) -> dict[str, ChannelSettings]:
        for name in channels:
            if re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name) is None or name == FILE_CHANNEL:
                raise ValueError(
                    f"{name}: allowed are letters, digits, _ and -, a letter first; {FILE_CHANNEL} is taken"
                )
        return channels

    @field_validator("fallback_channel")
    @classmethod
    def _declared(cls, name: str, info: ValidationInfo) -> str:
        names = [FILE_CHANNEL, *info.data.get("channels", {name: None})]
        if name not in names:
            raise ValueError(unknown(name, names))
        return name


class ConstitutionSettings(Declared):
    """What automation may do."""

    files: tuple[_Path, ...] = Field(
        default=(), description="files of Cedar policies of your own, which only forbid; part of the hashed spec"
    )
    limits: Limits = Field(default=Limits(), description="limits on automation; part of the hashed spec")

    @field_validator("files")
    @classmethod
    def _of_policies(cls, files: tuple[Path, ...]) -> tuple[Path, ...]:
        for file in files:
            if file.suffix != CEDAR:
                raise ValueError(f"{file}: allowed are names that end in {CEDAR}")
        return files


class StorageSettings(Declared):
    """Where state and logs are kept."""

    state_dir: _Path = Field(default=Path(".self-healing"), description="the state; one owner at a time")
    logs_dir: _Path = Field(
        default=Path("logs"), description="log files in self_healing/, and handoffs in handoffs/ beneath it"
    )
    keep: Annotated[Duration, Field(ge=2 * 86400)] = Field(
        default=90 * 86400,
        description="how long a closed incident is kept with all that was decided and done; two days at least",
    )
    keep_audit: Duration = Field(
        default=365 * 86400,
        description="how long an entry of the audit log is kept; no shorter than storage.keep",
        validate_default=True,
    )

    @field_validator("keep_audit")
    @classmethod
    def _outlives(cls, keep_audit: int, info: ValidationInfo) -> int:
        # What was decided about an incident that is shown has its entry on the log.
        if keep_audit < info.data.get("keep", 0):
            raise ValueError(f"allowed is no less than storage.keep, {info.data['keep'] // 86400}d")
        return keep_audit


def _none_if_blank(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


def _port(value: Any) -> Any:
    """A port; ``false`` is none at all."""
    return None if value is False else value


Port = Annotated[
    Annotated[int, Field(ge=0, le=65_535, strict=True)] | None,
    BeforeValidator(_port, json_schema_input_type=Annotated[int, Field(ge=0, le=65_535)] | Literal[False]),
]
"""A port to listen on: 0 is any that is free, ``false`` (None) is none."""


class Scope(StrEnum):
    """What a token lets its holder do; none of them includes another."""

    SEND = "send"  # telemetry, and ask for directives by OFREP
    READ = "read"  # all that is stored: dashboard, API, metrics
    OPERATE = "operate"  # change what people may change: stop, close, mute, undo, handoffs also over MCP
    APPROVE = "approve"  # say yes or no to what cannot be undone


class TokenSettings(Declared):
    """A token beside the one that may do all: known by its hash, or by the variable that holds it.

    Args:
        sha256: of the token, in hex, such as ``printf %s TOKEN | sha256sum`` says.
        env: the name of the environment variable that holds it.
        scopes: what it lets its holder do.
    """

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    env: Variable | None = None
    scopes: tuple[Scope, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _one_secret(self) -> Self:
        if (self.sha256 is None) == (self.env is None):
            raise ValueError("allowed is either sha256 or env")
        return self


def _host_name(value: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?", value) is None:
        raise ValueError("allowed is the name of a host, without scheme and port, such as healing.example.org")
    return value.lower()


def _origin(value: str) -> str:
    if re.fullmatch(r"https?://[A-Za-z0-9.\[\]:-]+", value) is None:
        raise ValueError("allowed is an origin such as https://healing.example.org")
    return value.lower()


class ServerSettings(Declared):
    """What the service listens on."""

    token: Annotated[str | None, BeforeValidator(_none_if_blank, json_schema_input_type=str)] = Field(
        default=None,
        description="what senders must show as a bearer token; better as SELF_HEALING_SERVER_TOKEN than in a file",
    )
    tokens: dict[str, TokenSettings] = Field(
        default={}, description="a table each: further tokens, by name, each with what it may do"
    )
    host: Annotated[str, BeforeValidator(_not_blank)] = Field(
        default="127.0.0.1", description="the address to listen on; another than this machine's own needs a token"
    )
    hosts: tuple[Annotated[str, AfterValidator(_host_name)], ...] = Field(
        default=(), description="names by which it is called beside addresses, localhost and host"
    )
    origins: tuple[Annotated[str, AfterValidator(_origin)], ...] = Field(
        default=(), description="origins of pages that may speak to it, where a proxy hides the port's own"
    )
    otlp_http_port: Port = Field(default=4318, description="OTLP over HTTP, and events; false for none")
    otlp_grpc_port: Port = Field(
        default=4317, description="OTLP over gRPC, where the extra grpc is installed; false for none"
    )
    port: Port = Field(default=8787, description="dashboard, events in and out, health, metrics; false for none")

    @property
    def guarded(self) -> bool:
        """Whether anybody who speaks to it must show a token."""
        return self.token is not None or bool(self.tokens)

    @property
    def listens(self) -> bool:
        """Whether any port is to be opened."""
        return any(port is not None for port in (self.otlp_http_port, self.otlp_grpc_port, self.port))

    @field_validator("host")
    @classmethod
    def _guarded(cls, host: str, info: ValidationInfo) -> str:
        if info.data.get("token") is None and not info.data.get("tokens") and not is_loopback(host):
            raise ValueError(
                "allowed without a token are localhost and loopback addresses; set SELF_HEALING_SERVER_TOKEN as well"
            )
        return host


def _none_or_variable(name: str) -> str:
    return variable(name) if name else name


class HeartbeatSettings(Declared):
    """The outside monitor that is called while the loop turns."""

    url_env: Annotated[str, AfterValidator(_none_or_variable)] = Field(
        default="", description="name of the variable with the address to call; none is called when empty"
    )
    every: Annotated[Duration, Field(ge=10, le=86400)] = Field(default=60, description="how often; 10s to a day")
    timeout: Timeout = Field(default=10, description="how long it may take to answer")
    allow: Networks = Field(
        default=(), description="networks beside the public ones, such as 10.0.0.0/8; plain http is for these only"
    )


NO_PORTS = ServerSettings(otlp_http_port=None, otlp_grpc_port=None, port=None)
"""For what runs the service beside whatever listens on this machine, as the demo does."""


def is_loopback(host: str) -> bool:
    """Whether `host` (a name or an address) is this machine and nothing else."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _label(value: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9._-]{0,63}", value) is None:
        raise ValueError("allowed are up to 63 letters, digits, ., _ and -")
    return value


class Settings(Declared):
    """The whole configuration; relative paths start at the current directory."""

    environment: Annotated[str, AfterValidator(_label)] = Field(
        default="", description="which of several fleets this is, such as production; on everything that leaves"
    )
    telemetry: TelemetrySettings = TelemetrySettings()
    triggers: TriggerSettings = TriggerSettings()
    actions: ActionSettings = ActionSettings()
    constitution: ConstitutionSettings = ConstitutionSettings()
    storage: StorageSettings = StorageSettings()
    server: ServerSettings = ServerSettings()
    heartbeat: HeartbeatSettings = HeartbeatSettings()


def _leaves(model: type[BaseModel], above: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _leaves(kind, f"{above}{name}.")
        else:
            yield above + name


SETTING_KEYS: tuple[str, ...] = tuple(_leaves(Settings))
"""The dotted key of every setting, such as ``actions.mode``."""

VARIABLES: dict[str, str] = {VARIABLE_PREFIX + key.replace(".", "_").upper(): key for key in SETTING_KEYS}
"""The environment variable of every setting, with its dotted key."""


def _functions(settings: Settings) -> Iterator[str]:
    """What is wrong with the functions that channels call: better told now than with the first handoff."""
    for name, channel in settings.actions.channels.items():
        if isinstance(channel, PythonDeclared):
            try:
                plugins.function(FUNCTIONS, channel.function)
            except ValueError as error:
                allowed = f"allowed is an entry point in {FUNCTIONS}, or module:function that can be imported"
                yield one_line(f"actions.channels.{name}.function: {shown(channel.function)}: {error}: {allowed}")


def load_spec(
    settings: Settings,
    overrides: Mapping[str, Values] | None = None,
    *,
    read: Read = read_document,
    looking: bool = False,
) -> Spec:
    """Everything that is declared, for `settings`.

    Args:
        settings: which files to read, and the limits.
        overrides: changes made at run time, by trigger, such as ``{"slow_tasks": {"enabled": False}}``.
        read: how each of the files is read.
        looking: nothing is done by it, so that functions of a person's own need not be there.

    Raises ConfigError with every problem in every file.
    """
    actions = read_actions(settings.actions.files, read=read, looking=looking)
    triggers = read_triggers(
        settings.triggers.files, overrides=overrides, actions=actions.names, declared=actions.specs, read=read
    )
    maintenance = read_maintenance(settings.triggers.files, triggers.specs, triggers.names, read=read)
    articles = read_own(settings.constitution.files, read=read)
    told = [*triggers.problems, *actions.problems, *maintenance.problems, *articles.problems]
    if problems := [*told, *(() if looking else _functions(settings))]:
        from self_healing.triggers.trying import failing  # it runs the engine, whose import costs every command

        raise ConfigError([*problems, *failing(triggers)])
    return Spec(
        triggers=triggers.specs,
        actions=actions.specs,
        limits=settings.constitution.limits,
        grid=settings.triggers.grid,
        max_groups=settings.triggers.max_groups,
        maintenance=maintenance.specs,
        warm_up=settings.triggers.warm_up,
        articles=articles.specs,
    )
