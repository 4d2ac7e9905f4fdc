"""Outside: the types of what is declared of programs that are run, and of web servers that are called."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

VISIBLE = ("PATH", "HOME", "LANG")
"""The variables that a program may see where nothing else is said."""


def variable(name: str) -> str:
    """`name`, where it can be that of an environment variable. Raises ValueError."""
    if not name.isidentifier() or not name.isascii():
        raise ValueError("allowed is the name of an environment variable, never the secret itself")
    return name


Variable = Annotated[str, AfterValidator(variable), Field(json_schema_extra={"pattern": r"^[A-Za-z_][A-Za-z0-9_]*$"})]
"""The name of the environment variable that holds a secret."""


def _startable(words: tuple[str, ...]) -> tuple[str, ...]:
    if any("\0" in word for word in words):
        raise ValueError("allowed is text without a NUL, at which the system would end it")
    return words


_Word = Annotated[str, Field(min_length=1, json_schema_extra={"pattern": r"^[^\u0000]*$"})]

Words = Annotated[tuple[_Word, ...], Field(min_length=1), AfterValidator(_startable)]
"""A program and its arguments."""


def _network(value: str) -> Network:
    try:
        return ip_network(value)
    except ValueError as error:
        raise ValueError('allowed is a network such as "10.0.0.0/8" or "::1/128"') from error


Network = IPv4Network | IPv6Network

Networks = tuple[Annotated[Network, BeforeValidator(_network, json_schema_input_type=str)], ...]
"""Networks that are no public ones and may be sent to all the same."""


def _address(url: str) -> str:
    parts = urlsplit(url)
    try:
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fine = False
    if not fine or parts.username is not None or parts.fragment:
        raise ValueError("allowed is an http or https address without a password or a fragment")
    return url


Url = Annotated[str, AfterValidator(_address)]
"""The address of a web server."""
