"""One guarded POST to a server that somebody configured: where it may lead, for how long, and how much comes back."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, NamedTuple, TypeVar

from self_healing.errors import EffectError, EffectRefused, EffectUntold
from self_healing.handoffs.cleaning import clean_text
from self_healing.redaction import without
from self_healing.spec.outside import Network

T = TypeVar("T")

MOST_BYTES = 64 * 1024
"""Of an answer; its status decides, and what comes beyond this is not read."""

AGAIN = (408, 425, 429)
"""Statuses of the 4xx that ask to be tried again."""

UNKNOWN_BEHIND = (502, 504)
"""Statuses of a gateway that does not know what became of it behind it."""

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_EMBEDDING = tuple(map(ipaddress.IPv6Network, ("64:ff9b::/96", "::/96")))
"""Networks of addresses that end in one of IPv4: NAT64, and the old compatible ones."""


class Answer(NamedTuple):
    """What came back: the status, and the beginning of the body."""

    status: int
    body: bytes

    @property
    def said(self) -> str:
        """The body as harmless text."""
        return clean_text(self.body.decode("utf-8", "backslashreplace").strip())


def innermost(text: str) -> _Address:
    """The address that `text` leads to in the end: one of IPv4 in one of IPv6 is that of IPv4."""
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv4Address):
        return address
    inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
    if inner is None and any(address in network for network in _EMBEDDING) and int(address) > 1:
        inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return inner or address


def permitted(text: str, allow: Sequence[Network]) -> bool:
    """Whether something may be sent to that address: a public one, or one that the settings allow."""
    address = innermost(text)
    return named(text, allow) or (address.is_global and not address.is_multicast and not address.is_reserved)


def named(text: str, allow: Sequence[Network]) -> bool:
    """Whether the settings allow that very address."""
    address = innermost(text)
    return any(address in network for network in allow if network.version == address.version)


def resolved(host: str, port: int, allow: Sequence[Network]) -> list[str]:
    """The addresses of `host`, all of which are permitted.

    Raises:
        EffectError: it has none now.
        EffectRefused: one of them is not permitted.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise EffectError(f"{host} cannot be resolved: {error}") from error
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    for address in addresses:
        if not permitted(address, allow):
            raise EffectRefused(f"{host} leads to {address}, which is not public; `allow` can name its network")
    return addresses


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    allow: Sequence[Network] = (),
    timeout_s: float,
    secrets: Sequence[str] = (),
) -> Answer:
    """Post `body` to `url`, whose name is resolved once: what was checked is what is connected to.

    Redirects are answers like others, and proxies of the environment are not used.

    Args:
        allow: networks beside the public ones; plain http is for these only.
        timeout_s: for all of it together.
        secrets: what of it the answer may not say again; the path of the address never.

    Raises:
        EffectRefused: it must not be sent there.
        EffectError: it was not sent.
        EffectUntold: it was sent, and no answer came.
    """
    import httpx2

    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        # Not shown, nor what is wrong with it: an address may be a secret.
        raise EffectRefused("the address cannot be read: allowed is one such as https://host:port/path") from error
    host, port = parsed.host, parsed.port or (443 if parsed.scheme == "https" else 80)
    addresses = resolved(host, port, allow)
    if parsed.scheme != "https" and not all(named(each, allow) for each in addresses):
        raise EffectRefused(f"{host} is public; what goes there needs https")

    async def send() -> Answer:
        failed = ""
        for address in addresses:
            try:
                return await _posted(parsed, address, body, headers, timeout_s)
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                failed = f"{address}: {error}"
        raise EffectError(f"{host} cannot be reached: {clean_text(failed)}")

    async def bounded() -> Answer:
        async with asyncio.timeout(timeout_s):
            return await send()

    try:
        answer = finished(bounded)
    except TimeoutError as error:
        raise EffectUntold(f"{host} did not answer within {timeout_s:g} s") from error
    except httpx2.HTTPError as error:
        raise EffectUntold(f"{host} gave no answer: {clean_text(repr(error))}") from error
    told = answer.body.decode("utf-8", "backslashreplace")
    return Answer(answer.status, without(told, [*secrets, parsed.raw_path.decode("ascii"), parsed.path]).encode())


async def _posted(url: Any, address: str, body: bytes, headers: Mapping[str, str], timeout_s: float) -> Answer:
    import httpx2

    # The name stays in Host and in TLS; only where the connection leads is fixed.
    extensions = {"sni_hostname": url.host}
    # No cookie is kept: the library puts one into the request that a redirect would be, whatever it is made of.
    cookies = CookieJar(DefaultCookiePolicy(allowed_domains=()))
    async with httpx2.AsyncClient(
        follow_redirects=False, trust_env=False, timeout=timeout_s, cookies=cookies
    ) as client:
        request = client.build_request(
            "POST",
            url.copy_with(host=address),
            content=body,
            headers={**headers, "Host": url.netloc.decode("ascii").rpartition("@")[2], "Accept-Encoding": "identity"},
            extensions=extensions,
        )
        response = await client.send(request, stream=True)
        try:
            return Answer(response.status_code, await _beginning(response, timeout_s / 4))
        finally:
            await response.aclose()


async def _beginning(response: Any, timeout_s: float) -> bytes:
    """The beginning of a body that may never end: what comes soon, and not too much. It is never unpacked."""
    import httpx2

    kept = bytearray()
    with suppress(TimeoutError, httpx2.HTTPError):
        async with asyncio.timeout(timeout_s):
            async for chunk in response.aiter_raw():
                kept += chunk[: MOST_BYTES - len(kept)]
                if len(kept) >= MOST_BYTES:
                    break
    return bytes(kept)


def judged(answer: Answer, who: str) -> Answer:
    """`answer`, where it says that what was sent was taken.

    Raises:
        EffectRefused: it never will be: a redirect, or another status of the 4xx.
        EffectError: not now.
        EffectUntold: a gateway does not know.
    """
    status, said = answer.status, f": {answer.said}" if answer.body else ""
    if 200 <= status < 300:
        return answer
    if status in UNKNOWN_BEHIND:
        raise EffectUntold(f"{who} does not know what became of it ({status}){said}")
    if status >= 500 or status in AGAIN:
        raise EffectError(f"{who} did not take it ({status}){said}")
    if 300 <= status < 400:
        raise EffectRefused(f"{who} redirects ({status}), and redirects are not followed")
    raise EffectRefused(f"{who} refused it ({status}){said}")


def finished(run: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """What a coroutine comes to, whether or not this thread has a loop of its own running already."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(run())
    outcome: list[T | BaseException] = []

    def work() -> None:
        try:
            outcome.append(asyncio.run(run()))
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join()
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]
