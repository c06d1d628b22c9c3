"""
The download of one body into memory of the caller. After a broken connection it resumes where it was, if the platform offers
that (RFC 9110, section 14; protocol section 11). ``transport`` opens the responses and decides on further attempts; ``results``
reads the bytes.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Protocol, TypeAlias

import anyio

from ..config import Secret
from ..errors import ConnectionClosedError, RequestTimeoutError, ResultError, SFJobsError, TransportError
from .masking import masked
from .messages import Response

MIN_BYTES_PER_SECOND = 1024
"""
A connection with a lower average after its first ``attempt_timeout`` seconds is closed. One that breaks off with a lower average
made no progress.
"""

_STRONG_ETAG = re.compile(r'"[\x21\x23-\x7e]*"')
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", re.IGNORECASE | re.ASCII)
_NUMBER = re.compile(r"\d{1,19}", re.ASCII)
_SHA_256 = re.compile(r"(?:^|,)\s*sha-256=:([A-Za-z0-9+/=]{44}):", re.ASCII)


class ByteSource(Protocol):
    """The bytes of one body, read into memory of the consumer."""

    @property
    def length(self) -> int | None:
        """The declared length of the whole body in bytes."""

    async def read_into(self, buffer: memoryview) -> int:
        """Read into the start of ``buffer``, which is never empty. Returns the number of bytes, 0 at the end of the body."""


class BodySegment(Protocol):
    """The response to one request, whose body is being read, and the attempts that it took to get it."""

    attempts: int
    secrets: list[Secret]

    @property
    def response(self) -> Response: ...

    async def read_into(self, buffer: memoryview) -> int: ...

    async def aclose(self) -> None: ...


Resume: TypeAlias = Callable[[Mapping[str, str], TransportError, int], Awaitable[BodySegment | None]]
"""Requests the rest with these headers, after this failure and number of attempts. Returns None if no attempt is left."""


class Download:
    """
    A ``ByteSource`` that holds a connection until it is closed. After a cancelled ``read_into`` the next one continues where it
    was: on the same connection if that is the client's own, otherwise on a new one.
    """

    def __init__(self, first: BodySegment, resume: Resume, *, timeout: float) -> None:
        headers = first.response.headers
        self.response: Response = first.response
        """The head of the first response."""
        self.etag: str | None = _strong_etag(headers)
        """The entity tag if it is strong, which no two versions of a body share."""
        self.digest: bytes | None = _sha_256(headers)
        """The SHA-256 of the whole body from the response's head (RFC 9530)."""
        self.is_resumed = False
        """Whether the body comes from more than one response, so that ``digest`` should be checked."""
        self._length = _content_length(headers)
        self._segment: BodySegment | None = first
        self._attempts = first.attempts  # in a row without progress, with the current one
        self._resume = resume
        self._timeout = timeout
        self._failure: TransportError | None = None
        self._is_closed = False
        self._secrets = set(first.secrets)
        self._position = 0
        self._start_measuring()

    @property
    def length(self) -> int | None:
        return self._length

    async def read_into(self, buffer: memoryview) -> int:
        """
        Read into the start of ``buffer``. Returns the number of bytes, 0 at the end of the body. After an error it is closed.

        Raises:
            TransportError: the body broke off and cannot be resumed, so that it has to start again.
            ResponseError, ProtocolError: the platform refused to resume it.
            ConnectionClosedError
        """
        while True:
            segment = self._segment or await self._resumed()
            try:
                count = await self._timed_read(segment, buffer)
                # h11 does not check the length of every body.
                if not count and self._length is not None and self._position < self._length:
                    raise self._broken(f"it ended after {self._position} bytes of {self._length}")
            except TransportError as error:
                await self._break_off(error)
                continue
            self._position += count
            self._segment_bytes += count
            if count and self._is_slow() and self._position != self._length:
                reason = f"only {self._segment_bytes} bytes came in {self._segment_seconds:.0f} s"
                await self._break_off(self._broken(reason, RequestTimeoutError))
            return count

    async def aclose(self) -> None:
        """Close the connection, unless the body has been read to its end. Idempotent."""
        self._is_closed = True
        await self._close_segment()

    def mask(self, error: ResultError) -> None:
        """
        Remove repeated secrets from the messages of an error and its causes, which may quote the body, and drop their frames,
        which hold the body.
        """
        left: list[BaseException | None] = [error]
        while left:
            cause = left.pop()
            if cause is None or cause.__traceback__ is None:
                continue
            cause.__traceback__ = None
            cause.args = tuple(self._masked(word) if isinstance(word, str) else word for word in cause.args)
            if isinstance(cause, ResultError):
                cause.message = self._masked(cause.message)
            left += [cause.__cause__, cause.__context__]

    def _masked(self, text: str) -> str:
        return masked(text, self._secrets)

    def _start_measuring(self) -> None:
        """Each connection is measured on its own. The time that the consumer needs does not count."""
        self._segment_bytes = 0
        self._segment_seconds = 0.0

    async def _timed_read(self, segment: BodySegment, buffer: memoryview) -> int:
        start = anyio.current_time()
        try:
            return await segment.read_into(buffer)
        finally:
            self._segment_seconds += anyio.current_time() - start

    async def _break_off(self, error: TransportError) -> None:
        # Its frames would keep the buffer, which may be all of an array.
        self._failure = error.with_traceback(None)
        await self._close_segment()

    async def _close_segment(self) -> None:
        segment, self._segment = self._segment, None
        if segment is not None:
            await segment.aclose()

    async def _resumed(self) -> BodySegment:
        """Request the rest of the body on a new connection."""
        self._check_open()
        if not self._is_resumable():
            raise self._last_failure()
        if self._segment_bytes and self._segment_bytes >= MIN_BYTES_PER_SECOND * self._segment_seconds:
            self._attempts = 1
        self._start_measuring()
        headers = {"Range": f"bytes={self._position}-", "If-Range": self.etag or ""}
        assert self._failure is not None
        try:
            segment = await self._resume(headers, self._failure, self._attempts)
        except SFJobsError:
            self._failure = None
            raise
        if segment is None:
            raise self._last_failure()
        self._attempts = segment.attempts
        self._secrets.update(segment.secrets)
        if self._is_closed:
            await segment.aclose()
            self._check_open()
        if reason := self._mismatch(segment.response):
            await segment.aclose()
            raise self._broken(f"it broke off after {self._position} bytes, and {reason}") from self._last_failure()
        self._segment, self._failure, self.is_resumed = segment, None, True
        return segment

    def _check_open(self) -> None:
        if self._is_closed or self._failure is None:
            raise ConnectionClosedError("this download has been closed")

    def _last_failure(self) -> TransportError:
        assert self._failure is not None
        failure, self._failure = self._failure, None
        failure.attempts = self._attempts
        return failure

    def _is_resumable(self) -> bool:
        units = self.response.headers.get("accept-ranges", "").lower().replace(",", " ").split()
        return "bytes" in units and self.etag is not None and self._position != self._length

    def _mismatch(self, response: Response) -> str:
        """Return why a response is not the rest of the same body, or an empty text. Sets the length of the whole body."""
        if response.status_code != 206:
            return "it has changed meanwhile"
        headers = response.headers
        found = _CONTENT_RANGE.fullmatch(headers.get("content-range", "").strip())
        if found is None:
            return "the response to the range request has no valid Content-Range"
        first, last, total = map(int, found.groups())
        if first != self._position or last != total - 1 or self._length not in (None, total):
            return f"the response to the range request has bytes {first} to {last} of {total} instead of the rest"
        if _content_length(headers) not in (None, total - first):
            return "the response to the range request contradicts itself about its length"
        if headers.get("etag", self.etag) != self.etag or self.digest not in (None, _sha_256(headers) or self.digest):
            return "it has changed meanwhile"
        self._length = total
        return ""

    def _is_slow(self) -> bool:
        seconds = self._segment_seconds
        return seconds > self._timeout and self._segment_bytes < MIN_BYTES_PER_SECOND * seconds

    def _broken(self, reason: str, kind: type[TransportError] = TransportError) -> TransportError:
        method, url = self.response.request.method, self.response.url
        return kind(f"{method} {url}: {reason}", method=method, url=url, attempts=self._attempts)


class Downloading:
    """The context manager of a ``Download``."""

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


def _content_length(headers: Mapping[str, str]) -> int | None:
    if "transfer-encoding" in headers:
        return None
    found = _NUMBER.fullmatch(headers.get("content-length", ""))
    return None if found is None else int(found[0])


def _strong_etag(headers: Mapping[str, str]) -> str | None:
    tag = headers.get("etag", "")
    return tag if _STRONG_ETAG.fullmatch(tag) else None


def _sha_256(headers: Mapping[str, str]) -> bytes | None:
    found = _SHA_256.search(headers.get("repr-digest", ""))
    try:
        digest = b"" if found is None else base64.b64decode(found[1], validate=True)
    except binascii.Error:
        return None
    return digest if len(digest) == 32 else None
