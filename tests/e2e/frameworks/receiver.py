"""What a program that is recorded talks to: it keeps what is sent as telemetry, and answers as a model would.

Only the standard library, so that any interpreter can run it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

KEPT = ("Content-Type", "Content-Encoding", "Authorization")
TELEMETRY = ("/v1/logs", "/v1/traces", "/v1/metrics", "/v1/alertmanager")
TEXT = "It is on its way."

_MESSAGE: dict[str, Any] = {"id": "msg_1", "type": "message", "role": "assistant", "content": [], "stop_reason": None}
_ITEM = {"type": "message", "id": "m1", "role": "assistant", "content": [{"type": "output_text", "text": TEXT}]}
_USED = {"input_tokens": 12, "output_tokens": 5, "total_tokens": 17}


def _claude(asked: dict[str, Any]) -> list[dict[str, Any]]:
    """The events of an answer of Anthropic's."""
    message = _MESSAGE | {"model": asked["model"], "usage": {"input_tokens": 12, "output_tokens": 1}}
    return [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": TEXT}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}},
        {"type": "message_stop"},
    ]


def _openai(_asked: dict[str, Any]) -> list[dict[str, Any]]:
    """The events of an answer of OpenAI's."""
    return [
        {"type": "response.created", "response": {"id": "r1"}},
        {"type": "response.output_item.done", "output_index": 0, "item": _ITEM},
        {"type": "response.completed", "response": {"id": "r1", "output": [_ITEM], "usage": _USED}},
    ]


MODELS = {"/v1/messages": _claude, "/v1/responses": _openai}


@contextmanager
def receiving() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The address of a receiver on a free port, and the requests with telemetry that it got, in their order."""
    requests: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer("application/json", b'{"data":[],"models":[]}')

        def do_POST(self) -> None:
            body = self._body()
            path = self.path.partition("?")[0]
            if path in TELEMETRY:
                headers = {name: self.headers[name] for name in KEPT if name in self.headers}
                requests.append({"path": path, "headers": headers, "body": base64.b64encode(body).decode()})
                self._answer(headers["Content-Type"], b"")
            elif path in MODELS:
                events = MODELS[path](json.loads(body))
                stream = "".join(f"event: {each['type']}\ndata: {json.dumps(each)}\n\n" for each in events)
                self._answer("text/event-stream", stream.encode())
            else:
                self._answer("application/json", b"{}")

        def _body(self) -> bytes:
            length = self.headers["Content-Length"]
            return self.rfile.read(int(length)) if length else b"".join(iter(self._chunk, b""))

        def _chunk(self) -> bytes:
            chunk = self.rfile.read(int(self.rfile.readline(), 16))
            self.rfile.readline()
            return chunk

        def _answer(self, kind: str, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", requests
        finally:
            server.shutdown()
            thread.join()
