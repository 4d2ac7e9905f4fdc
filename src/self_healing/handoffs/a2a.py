"""Handoffs to agents that speak A2A: a task of theirs, followed until it ends."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from self_healing.errors import EffectError, EffectRefused, EffectUntold
from self_healing.handoffs.channel import Progress, Receipt, Stage
from self_healing.handoffs.cleaning import clean_text
from self_healing.handoffs.declared import A2aDeclared
from self_healing.handoffs.http import finished
from self_healing.handoffs.message import ContextMessageHandoff
from self_healing.model import Handoff
from self_healing.redaction import without

if TYPE_CHECKING:
    from a2a.client import Client
    from a2a.types import AgentCard, Task

T = TypeVar("T")

MOST_BYTES = 1024 * 1024
"""Of one answer of an agent."""


class A2aChannel:
    """Sends each handoff as a message: the prompt as text, everything else as a data part.

    The message and its context carry the handoff's id, so that after a crash the agent can be asked for the task.

    Args:
        name: what people call it.
        declared: its settings.
    """

    def __init__(self, name: str, declared: A2aDeclared) -> None:
        self.name = name
        self._declared = declared

    @property
    def follow_s(self) -> float:
        """How often it is worth asking, in seconds."""
        return self._declared.poll

    def deliver(self, handoff: Handoff) -> Receipt | None:
        """As the port says."""
        from a2a.client.errors import A2AClientError
        from a2a.utils.errors import A2AError, InternalError

        about = f"channel {self.name}: the agent that gets handoff {handoff.id}"
        try:
            receipt = self._asked(lambda client: _sent(client, handoff))
        except (EffectError, EffectRefused):
            raise
        except TimeoutError as error:
            raise EffectUntold(f"{about} did not answer within {self._declared.timeout} s") from error
        except A2AError as error:
            text = self._without(str(error))
            if isinstance(error, A2AClientError | InternalError):
                raise EffectUntold(f"{about} gave no answer: {text}") from error
            raise EffectRefused(f"{about} refused it: {text}") from error
        except _stumbles() as error:
            raise EffectUntold(f"{about} answered nonsense: {self._without(repr(error))}") from error
        return receipt if receipt.said is None else Receipt(said=self._without(receipt.said))

    def probe(self, handoff: Handoff) -> bool | None:
        """Whether the agent has a task for it; one that knows of none may have forgotten it, so nobody can tell."""
        try:
            return True if self._asked(lambda client: _found(client, handoff)) is not None else None
        except _stumbles(EffectError, TimeoutError):
            return None  # not even an answer

    def follow(self, handoff: Handoff) -> Progress:
        """How its task stands. Raises EffectError when the agent does not say."""
        try:
            task = self._asked(lambda client: _task(client, handoff))
        except _stumbles(TimeoutError) as error:
            raise EffectError(
                f"channel {self.name}: no answer about handoff {handoff.id}: {self._told(error)}"
            ) from error
        if task is None or not task.id:
            raise EffectError(f"channel {self.name}: the agent knows no task of handoff {handoff.id}")
        progress = _progress(task)
        said = None if progress.said is None else self._without(progress.said)
        return msgspec.structs.replace(progress, said=said)

    @property
    def _token(self) -> str:
        return os.environ.get(self._declared.token_env or "", "")

    def _without(self, text: str) -> str:
        """What an agent says, made harmless, and without the token that it was shown."""
        return clean_text(without(text, [self._token]))

    def _told(self, error: BaseException) -> str:
        return self._without(str(error) or repr(error))

    def _asked(self, ask: Callable[[Client], Awaitable[T]]) -> T:
        async def run() -> T:
            async with asyncio.timeout(self._declared.timeout), self._client() as client:
                return await ask(client)

        return finished(run)

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[Client]:
        """A client for the agent as its card is now. Raises EffectError, EffectRefused."""
        import httpx
        from a2a.client import A2ACardResolver, ClientConfig, ClientFactory

        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        timeout_s = self._declared.timeout
        async with httpx.AsyncClient(
            transport=_bounded(), headers=headers, timeout=timeout_s, follow_redirects=False, trust_env=False
        ) as http:
            try:
                card = await A2ACardResolver(http, self._declared.url).get_agent_card()
            except _stumbles() as error:  # nothing was sent yet, whatever is wrong with the card
                raise EffectError(
                    f"channel {self.name}: the card of {self._declared.url}: {self._told(error)}"
                ) from error
            self._stay(card)
            config = ClientConfig(streaming=False, polling=True, httpx_client=http)
            try:
                client = ClientFactory(config).create(card)
            except ValueError as error:
                raise EffectRefused(f"channel {self.name}: {self._declared.url}: {self._told(error)}") from error
            yield client

    def _stay(self, card: AgentCard) -> None:
        """Keep of a card only what leads to the very server that is configured: a card is the agent's own word."""
        import httpx

        here = httpx.URL(self._declared.url)

        def at_home(url: str) -> bool:
            try:
                there = httpx.URL(url)
            except httpx.InvalidURL:
                return False
            return (there.scheme, there.host, there.port) == (here.scheme, here.host, here.port)

        kept = [each for each in card.supported_interfaces if at_home(each.url)]
        if not kept:
            raise EffectRefused(
                f"channel {self.name}: the card of {self._declared.url} names no address on that server"
            )
        del card.supported_interfaces[:]
        card.supported_interfaces.extend(kept)


async def _sent(client: Client, handoff: Handoff) -> Receipt:
    from a2a.helpers import new_data_part, new_text_part
    from a2a.types import Message, Role, SendMessageConfiguration, SendMessageRequest

    fields = ContextMessageHandoff.from_dict(handoff.message).to_dict()
    prompt = fields.pop("prompt")
    message = Message(
        message_id=handoff.id,
        context_id=handoff.id,
        role=Role.ROLE_USER,
        parts=[new_text_part(prompt), new_data_part(fields)],
    )
    configuration = SendMessageConfiguration(return_immediately=True)
    async for answer in client.send_message(SendMessageRequest(message=message, configuration=configuration)):
        if answer.HasField("task"):
            return Receipt(remote=clean_text(answer.task.id, 200))
        if answer.HasField("message"):
            return Receipt(said=_text(answer.message.parts))
    raise EffectUntold(f"the agent that gets handoff {handoff.id} answered with neither a task nor a message")


async def _found(client: Client, handoff: Handoff) -> Task | None:
    from a2a.types import ListTasksRequest

    listed = await client.list_tasks(ListTasksRequest(context_id=handoff.id, page_size=1))
    return next((task for task in listed.tasks if task.context_id == handoff.id), None)


async def _task(client: Client, handoff: Handoff) -> Task | None:
    from a2a.types import GetTaskRequest

    id = handoff.remote
    if id is None:  # a crash came before it was written down
        found = await _found(client, handoff)
        if found is None:
            return None
        id = found.id
    return await client.get_task(GetTaskRequest(id=id))


def _progress(task: Task) -> Progress:
    from a2a.types import TaskState

    said = _text(task.status.message.parts) or _text([part for each in task.artifacts for part in each.parts])
    remote = clean_text(task.id, 200)
    match task.status.state:
        case TaskState.TASK_STATE_COMPLETED:
            return Progress(stage=Stage.COMPLETED, said=said, remote=remote)
        case TaskState.TASK_STATE_FAILED | TaskState.TASK_STATE_CANCELED | TaskState.TASK_STATE_REJECTED as state:
            ended = TaskState.Name(state).removeprefix("TASK_STATE_").lower()
            return Progress(stage=Stage.FAILED, said=said or ended, remote=remote)
        case TaskState.TASK_STATE_INPUT_REQUIRED | TaskState.TASK_STATE_AUTH_REQUIRED as state:
            waits = TaskState.Name(state).removeprefix("TASK_STATE_").lower()
            return Progress(stage=Stage.PAUSED, said=f"{waits}: {said}" if said else waits, remote=remote)
        case TaskState.TASK_STATE_WORKING:
            return Progress(stage=Stage.WORKING, said=said, remote=remote)
        case _:
            return Progress(stage=Stage.WAITING, said=said, remote=remote)


def _text(parts: Any) -> str | None:
    """What the text parts say, made harmless."""
    texts: list[str] = [part.text for part in parts if part.HasField("text")]
    return clean_text("\n".join(texts)) or None


def _stumbles(*others: type[Exception]) -> tuple[type[Exception], ...]:
    """What the SDK raises over an agent, and over any nonsense that it answers; and `others`.

    Its own errors, and those of what it reads answers with, which it lets through; a method that an old protocol lacks
    is a RuntimeError, as is an answer that is nested too deeply.
    """
    import httpx
    from a2a.utils.errors import A2AError
    from google.protobuf.json_format import Error

    reading = (httpx.HTTPError, httpx.InvalidURL, Error, ValueError, TypeError, AttributeError, LookupError)
    return (*others, A2AError, *reading, RuntimeError)


def _bounded() -> Any:
    """A transport whose answers end after so many bytes."""
    import httpx

    class Capped(httpx.AsyncByteStream):
        def __init__(self, stream: httpx.AsyncByteStream) -> None:
            self._stream = stream

        async def __aiter__(self) -> AsyncIterator[bytes]:
            read = 0
            async for chunk in self._stream:
                read += len(chunk)
                if read > MOST_BYTES:
                    raise httpx.ReadError(f"more than {MOST_BYTES} bytes of an answer")
                yield chunk

        async def aclose(self) -> None:
            await self._stream.aclose()

    class Bounded(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            request.headers["Accept-Encoding"] = "identity"  # nothing is unpacked
            response = await super().handle_async_request(request)
            assert isinstance(response.stream, httpx.AsyncByteStream)
            response.stream = Capped(response.stream)
            return response

    return Bounded()
