"""Recipients on loopback: some do what they should, others what they should not."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
LOOPBACK = ("127.0.0.0/8",)

Answer = Callable[[BaseHTTPRequestHandler, bytes], None]


@contextmanager
def serving(answer: Answer) -> Iterator[str]:
    """The address of a server on a free port that gives that answer to everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            with suppress(OSError):  # whoever asked has gone
                answer(self, body)

        do_GET = do_POST

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def reply(status: int, body: bytes = b"", **headers: str) -> Answer:
    """Answers everything alike."""

    def answer(handler: BaseHTTPRequestHandler, _body: bytes) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def echo(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    """Refuses everything, and says all of it again."""
    said = f"{handler.path} {handler.headers}".encode() + body
    reply(400, said)(handler, body)


def hang(handler: BaseHTTPRequestHandler, _body: bytes) -> None:
    """Never answers."""
    time.sleep(5)


def trickle(handler: BaseHTTPRequestHandler, _body: bytes) -> None:
    """Sends a header, byte by byte, without an end."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nx: ")
    for _ in range(100):
        handler.wfile.write(b"y")
        handler.wfile.flush()
        time.sleep(0.05)


def flood(handler: BaseHTTPRequestHandler, _body: bytes) -> None:
    """Says yes, and then sends without an end."""
    handler.send_response(200)
    handler.end_headers()
    for _ in range(10_000):
        handler.wfile.write(b"z" * 100_000)


def nonsense(handler: BaseHTTPRequestHandler, _body: bytes) -> None:
    """Speaks no HTTP."""
    handler.wfile.write(b"\x00\xff\x00 what?\r\n\r\n")


class Receiver:
    """A receiver of webhooks that verifies each with the official library, and drops what it has seen."""

    def __init__(self) -> None:
        self.events: dict[str, dict[str, Any]] = {}
        self.requests = 0

    def __call__(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        self.requests += 1
        try:
            event = Webhook(SECRET).verify(body, dict(handler.headers.items()))
        except WebhookVerificationError:
            return reply(401, b"bad signature")(handler, body)
        self.events.setdefault(handler.headers["webhook-id"], event)
        return reply(202, b"queued")(handler, body)


class Alerting:
    """Alertmanager's API, as far as alerts are pushed and listed: the newest of each set of labels, until it ends."""

    def __init__(self) -> None:
        self.alerts: dict[str, dict[str, Any]] = {}
        self.pushed = 0

    def __call__(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        if handler.path != "/api/v2/alerts":
            return reply(404)(handler, body)
        if handler.command == "GET":
            active = [each for each in self.alerts.values() if "endsAt" not in each]
            return reply(200, json.dumps(active).encode())(handler, body)
        self.pushed += 1
        for alert in json.loads(body):
            if not all(isinstance(value, str) for value in alert["labels"].values()):
                return reply(400, b"labels are texts")(handler, body)
            self.alerts[json.dumps(alert["labels"], sort_keys=True)] = alert
        return reply(200)(handler, body)


class Paging:
    """PagerDuty's Events v2: one alert for each ``dedup_key``."""

    def __init__(self) -> None:
        self.open: dict[str, dict[str, Any]] = {}
        self.resolved: list[str] = []

    def __call__(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        event = json.loads(body)
        if event["routing_key"] != "key-1":
            return reply(400, b"no such key")(handler, body)
        if event["event_action"] == "trigger":
            assert {"summary", "source", "severity"} <= event["payload"].keys()
            self.open[event["dedup_key"]] = event["payload"]
        else:
            self.open.pop(event["dedup_key"], None)
            self.resolved.append(event["dedup_key"])
        return reply(202, b'{"status":"success"}')(handler, body)
