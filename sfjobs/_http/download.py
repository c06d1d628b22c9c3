"""
One body on its way into the memory of whoever wants it. It goes on by itself where the connection broke off, when the platform
has offered that (RFC 9110, section 14; protocol section 11). ``transport`` opens the answers, and says whether there is another
try; what the bytes mean, ``results`` knows.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Protocol, TypeAlias

import anyio

from ..config import Secret
from ..errors import ConnectionClosedError, RequestTimeoutError, ResultError, SFJobsError, TransportError
from .messages import Response

SLOWEST_DOWNLOAD = 1024
"""Bytes/s. A connection that is slower over its first ``attempt_timeout`` seconds, or ever after, is given up. One that breaks
off has made no progress if it was slower."""

_STRONG_ETAG = re.compile(r'"[\x21\x23-\x7e]*"')
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", re.IGNORECASE | re.ASCII)
_NUMBER = re.compile(r"\d{1,19}", re.ASCII)
_SHA_256 = re.compile(r"(?:^|,)\s*sha-256=:([A-Za-z0-9+/=]{44}):", re.ASCII)

_TELLING = 8
"""So many letters from the start of a secret are taken for the secret, of which a quotation may hold a part only."""


class ByteSource(Protocol):
    """The bytes of one body, into memory that the consumer chooses."""

    @property
    def length(self) -> int | None:
        """Bytes of the whole body where they were declared."""

    async def read_into(self, room: memoryview) -> int:
        """Fills some of ``room``, which is never empty, and says how much; 0 at the end of the body, and from then on."""


class BodySegment(Protocol):
    """The answer to one request, of which the body is being read. ``tries`` is how many it took to come by."""

    tries: int
    answer: Response

    @property
    def secrets(self) -> Sequence[Secret]: ...

    async def read_into(self, room: memoryview) -> int: ...

    async def aclose(self) -> None: ...


GoOn: TypeAlias = Callable[[Mapping[str, str], TransportError, int], Awaitable[BodySegment | None]]
"""Asks for the rest with these headers, after this failure, which was the how-manyth in a row; None when that was enough."""


class Download:
    """
    A ``ByteSource`` that holds a connection until it is closed. A ``read_into`` that was cancelled has taken nothing where the
    connection is the client's own, and otherwise ends it; either way the next one goes on where it was.
    """

    def __init__(self, part: BodySegment, go_on: GoOn, *, patience: float) -> None:
        head = part.answer.headers
        self.answer: Response = part.answer
        """The head of the first answer."""
        self.etag: str | None = _strong_etag(head)
        """The entity tag, if it is a strong one, which no two versions of a body share."""
        self.digest: bytes | None = _sha_256(head)
        """The SHA-256 of the whole body that the platform named (RFC 9530)."""
        self.is_resumed = False
        """Whether it comes from more than one answer, so that ``digest`` is worth a look."""
        self._length = _content_length(head)
        self._part: BodySegment | None = part
        self._tries = part.tries  # in a row that have led nowhere, the present one included
        self._go_on = go_on
        self._patience = patience
        self._failure: TransportError | None = None
        self._is_closed = False
        self._secrets = set(part.secrets)
        self._taken = 0
        self._begin()

    @property
    def length(self) -> int | None:
        return self._length

    async def read_into(self, room: memoryview) -> int:
        """
        Fills some of ``room`` and says how much; 0 at the end of the body. Raises TransportError when the body broke off and
        cannot be gone on with, so that it has to be started again; ResponseError or ProtocolError when the platform refuses
        to go on; ConnectionClosedError. After any of these it is closed.
        """
        while True:
            part = self._part or await self._rest()
            try:
                count = await self._timed(part, room)
                if not count and self._is_short():
                    raise self._broken(f"it ended after {self._taken} bytes of {self._length}")
            except TransportError as error:
                await self._break_off(error)
                continue
            self._taken += count
            self._came += count
            if count and self._is_slow() and self._taken != self._length:
                await self._break_off(self._too_slow())
            return count

    async def aclose(self) -> None:
        """Ends the connection, unless the body has been read to its end. Safe to call twice."""
        self._is_closed = True
        await self._leave()

    def mask(self, error: ResultError) -> None:
        """
        Takes out of an error's words, which may quote the body, what was sent and has been repeated there. The frames it came
        through hold the body itself.
        """
        left: list[BaseException | None] = [error]
        while left:
            deeper = left.pop()
            if deeper is None or deeper.__traceback__ is None:
                continue
            deeper.__traceback__ = None
            deeper.args = tuple(self._masked(word) if isinstance(word, str) else word for word in deeper.args)
            if isinstance(deeper, ResultError):
                deeper.message = self._masked(deeper.message)
            left += [deeper.__cause__, deeper.__context__]

    def _masked(self, text: str) -> str:
        for secret in self._secrets:
            text = "".join(_without(text, secret))
        return text

    def _begin(self) -> None:
        """Each connection has to show its own pace. What its consumer takes to make room is not its fault."""
        self._came = 0
        self._waited = 0.0

    async def _timed(self, part: BodySegment, room: memoryview) -> int:
        asked = anyio.current_time()
        try:
            return await part.read_into(room)
        finally:
            self._waited += anyio.current_time() - asked

    async def _break_off(self, error: TransportError) -> None:
        # Its frames would keep the room, which may be all of an array.
        self._failure = error.with_traceback(None)
        await self._leave()

    async def _leave(self) -> None:
        part, self._part = self._part, None
        if part is not None:
            await part.aclose()

    async def _rest(self) -> BodySegment:
        """A new connection, on which the body goes on."""
        self._check_open()
        if not self._may_go_on():
            raise self._given_up()
        if self._came and self._came >= SLOWEST_DOWNLOAD * self._waited:
            self._tries = 1
        self._begin()
        headers = {"Range": f"bytes={self._taken}-", "If-Range": self.etag or ""}
        assert self._failure is not None
        try:
            part = await self._go_on(headers, self._failure, self._tries)
        except SFJobsError:
            self._failure = None
            raise
        if part is None:
            raise self._given_up()
        self._tries = part.tries
        self._secrets.update(part.secrets)
        if self._is_closed:
            await part.aclose()
            self._check_open()
        if reason := self._misfit(part.answer):
            await part.aclose()
            raise self._broken(f"it broke off after {self._taken} bytes, and {reason}") from self._given_up()
        self._part, self._failure, self.is_resumed = part, None, True
        return part

    def _check_open(self) -> None:
        if self._is_closed or self._failure is None:
            raise ConnectionClosedError("this download has been closed")

    def _given_up(self) -> TransportError:
        assert self._failure is not None
        failure, self._failure = self._failure, None
        failure.attempts = self._tries
        return failure

    def _may_go_on(self) -> bool:
        units = self.answer.headers.get("accept-ranges", "").lower().replace(",", " ").split()
        return "bytes" in units and self.etag is not None and self._taken != self._length

    def _misfit(self, answer: Response) -> str:
        """Why this is not the rest of the same body; nothing if it is, which shows how long that is altogether."""
        if answer.status_code != 206:
            return "has changed meanwhile"
        head = answer.headers
        found = _CONTENT_RANGE.fullmatch(head.get("content-range", "").strip())
        if found is None:
            return "what came then does not say which part of it that is"
        first, last, total = map(int, found.groups())
        if first != self._taken or last != total - 1 or self._length not in (None, total):
            return f"then bytes {first} to {last} of {total} came instead of the rest"
        if _content_length(head) not in (None, total - first):
            return "what came then contradicts itself about its length"
        if head.get("etag", self.etag) != self.etag or self.digest not in (None, _sha_256(head) or self.digest):
            return "has changed meanwhile"
        self._length = total
        return ""

    def _is_short(self) -> bool:
        """To a length that h11 has not read, nobody else sees."""
        return self._length is not None and self._taken < self._length

    def _is_slow(self) -> bool:
        return self._waited > self._patience and self._came < SLOWEST_DOWNLOAD * self._waited

    def _broken(self, reason: str) -> TransportError:
        method, url = self.answer.request.method, self.answer.url
        return TransportError(f"{method} {url}: {reason}", method=method, url=url, attempts=self._tries)

    def _too_slow(self) -> RequestTimeoutError:
        method, url = self.answer.request.method, self.answer.url
        reason = f"only {self._came} bytes came in {self._waited:.0f} s"
        return RequestTimeoutError(f"{method} {url}: {reason}", method=method, url=url)


class Downloading:
    """What ``async with`` makes a Download of: opened at its beginning, closed at its end."""

    def __init__(self, begin: Callable[[], Awaitable[Download]]) -> None:
        self._begin = begin

    async def __aenter__(self) -> Download:
        self._download = await self._begin()
        return self._download

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._download.aclose()
        if isinstance(error, ResultError):
            self._download.mask(error)


def _content_length(head: Mapping[str, str]) -> int | None:
    if "transfer-encoding" in head:
        return None
    found = _NUMBER.fullmatch(head.get("content-length", ""))
    return None if found is None else int(found[0])


def _strong_etag(head: Mapping[str, str]) -> str | None:
    tag = head.get("etag", "")
    return tag if _STRONG_ETAG.fullmatch(tag) else None


def _sha_256(head: Mapping[str, str]) -> bytes | None:
    found = _SHA_256.search(head.get("repr-digest", ""))
    try:
        digest = b"" if found is None else base64.b64decode(found[1], validate=True)
    except binascii.Error:
        return None
    return digest if len(digest) == 32 else None


def _without(text: str, secret: Secret) -> Iterator[str]:
    """The pieces of ``text`` between which the secret, or a beginning of it, stood, and a mask for each."""
    start = secret.reveal()[:_TELLING]
    while start and (place := text.find(start)) >= 0:
        yield text[:place] + "***"
        text = text[place:].removeprefix(_common(text[place:], secret))
    yield text


def _common(text: str, secret: Secret) -> str:
    length = 0
    for ours, theirs in zip(text, secret.reveal(), strict=False):
        if ours != theirs:
            break
        length += 1
    return text[:length]
