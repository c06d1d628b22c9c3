"""One request of a scripted platform from its arrival to its answer: logged, with its faults chosen and applied. No sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import anyio

from .answers import Answer, EventPieces, Received, changed, scripted_answer
from .backend import Backend
from .faults import OF_ANSWERS, Fault
from .request_log import logged

_NEVER_ANSWERED = frozenset(
    {"reset before request", "reset before answer", "no answer", "cut head", "garbage"}
)  # fmt: skip


class StreamReset(Exception):
    """A stream whose connection is to be reset here."""


class Exchange:
    """One request, which is logged at once. ``damage`` is the fault that replaces or damages its answer, if there is one."""

    def __init__(self, backend: Backend, request: Received) -> None:
        self._backend = backend
        self._request = request
        self._faults = backend.faults.for_request(request.method, request.path)
        self.damage = next((fault for fault in self._faults if fault.kind not in OF_ANSWERS), None)
        self._entry = logged(
            request.method,
            request.target,
            request.headers.items(),
            request.body,
            time=backend.now(),
            secrets=backend.secrets(),
        )
        self._entry.faults = tuple(fault.kind for fault in self._faults)
        backend.requests.append(self._entry)

    @property
    def takes_effect(self) -> bool:
        """Whether the platform gets the request."""
        return self.damage is None or self.damage.kind not in ("status", "reset before request")

    async def answer(self) -> Answer:
        """Return the answer after the latency, with all that changes it. What damages its bytes is left to the caller."""
        pause = self._backend.latency + sum(fault.seconds for fault in self._faults if fault.kind == "delay")
        if pause > 0:
            await anyio.sleep(pause)
        answer = await self._undated()
        answer = changed(answer, self._faults, self._backend.date(self._backend.now()))
        if self.damage is None or self.damage.kind not in _NEVER_ANSWERED:
            self._entry.status = answer.status
        return answer

    async def _undated(self) -> Answer:
        fault = self.damage
        if fault is not None and fault.kind == "status":
            return scripted_answer(fault)
        if fault is not None and fault.kind == "expired token":
            self._backend.expire_tokens()
        answer = await self._backend.answer(self._request)
        if answer.stream is not None and fault is not None and fault.kind == "feed cut":
            return replace(answer, stream=_CutStream(answer.stream, fault))
        return answer


class _CutStream:
    """The stream of a feed until a fault ends it."""

    def __init__(self, stream: EventPieces, fault: Fault) -> None:
        self._stream = stream
        self._pieces = aiter(stream)
        self._ending = fault.ending
        self._left = fault.events
        self._last = self._last_pieces()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._left >= 0:
            kept = b"".join(self._counted(await anext(self._pieces)))
            if kept:
                return kept
            self._left = -1
        for piece in self._last:
            return piece
        if self._ending == "no bytes":
            await anyio.sleep_forever()
        if self._ending == "reset":
            raise StreamReset
        raise StopAsyncIteration

    def _counted(self, piece: bytes) -> Iterator[bytes]:
        """Yield the events of a piece until all that may be sent have been."""
        for event in piece.split(b"\n\n")[:-1]:
            if event.startswith(b"event: job"):
                if self._left <= 0:
                    self._left = -1
                    return
                self._left -= 1
            yield event + b"\n\n"

    def _last_pieces(self) -> Iterator[bytes]:
        if self._ending == "garbage":
            yield b"data: <html>\n\nevent: job\ndata: {\n\n"
        elif self._ending == "bye":
            yield b"event: bye\ndata: {}\n\n"

    async def aclose(self) -> None:
        await self._stream.aclose()
