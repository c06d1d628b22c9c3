"""``ResultStream``: the body of a result while it arrives, consumed once, in chunks, into memory or into a file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import ClassVar, Self

from ..._http.download import Download, Downloading
from ..._util.aio import Closeable
from ...errors import ResultCorruptError, ResultError
from ..formats.npy import Array
from ..result import Result
from .to_file import check_suffix, save
from .to_memory import naming_result, receive

CHUNK_BYTES = 1 << 20


class ResultStream(Closeable):
    """
    The result of a job while it is downloaded, open within its ``async with`` block. For one task at a time.

    It can be consumed once: by ``async for chunk in stream``, by ``result()`` or ``array()``, or by ``save()``. If the
    connection breaks, the download resumes where the platform supports that.

    Raises:
        RuntimeError: the stream was consumed before, or is not open.
        TransportError: the connection broke and the download could not be resumed; open the result again.
    """

    _instead: ClassVar[str] = "keep the id of its job for Connection.open_result(job_id)"

    def __init__(self, job_id: str, begin: Callable[[], Awaitable[Downloading]], max_bytes: int) -> None:
        self._job_id = job_id
        self._begin = begin
        self._max_bytes = max_bytes
        self._stack = AsyncExitStack()
        self._download: Download | None = None
        self._use: str | None = None

    async def __aenter__(self) -> Self:
        self._download = await self._stack.enter_async_context(await self._begin())
        return self

    async def aclose(self) -> None:
        """End the download. Safe to call twice."""
        self._download = None
        await self._stack.aclose()

    @property
    def length(self) -> int | None:
        """Bytes of the whole body; None if the platform did not declare them."""
        return self._open_download().length

    async def result(self) -> Result:
        """
        Return the whole result, in memory.

        Raises:
            ResultCorruptError: the body is not a complete, well-formed result.
            ResultTooLargeError: its arrays have more than ``max_result_bytes``.
            TransportError: the connection broke and the download could not be resumed.
        """
        download = self._consume("result()")
        with _masking(download):
            return await receive(download, max_bytes=self._max_bytes, job_id=self._job_id, url=download.response.url)

    async def array(self) -> Array:
        """Return ``result().raw``, of shape (shots, modes) or (shots, spatial modes, timebins)."""
        return (await self.result()).raw

    async def save(self, path: str | os.PathLike[str]) -> Path:
        """
        Write the body to a file as the platform sends it, and return the path.

        The suffix must be ``.npz``, or ``.npy`` for a platform of version 0.2.0. The file appears complete and checked, or not
        at all: then an earlier file stays as it was.

        Raises:
            ValueError: the suffix is another one, or not that of the body.
            ResultCorruptError: the body is not a complete, well-formed result.
            TransportError: the connection broke and the download could not be resumed.
            OSError: the file cannot be written.
        """
        file = Path(path)
        check_suffix(file)
        download = self._consume("save()")
        with _masking(download):
            await save(download, file, max_bytes=self._max_bytes, job_id=self._job_id, url=download.response.url)
        return file

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Iterate over chunks of 1 MiB; the last may be shorter. A cancelled step loses no bytes and can be repeated."""
        self._consume("a loop over its chunks")
        return _Chunks(self._open_download, self._job_id)

    def _open_download(self) -> Download:
        if self._download is None:
            raise RuntimeError(f"the result of job {self._job_id} is not open: use it inside its `with` block")
        return self._download

    def _consume(self, use: str) -> Download:
        download = self._open_download()
        if self._use is not None:
            raise RuntimeError(
                f"the result of job {self._job_id} was already consumed by {self._use}: open it again for {use}"
            )
        self._use = use
        return download

    def __repr__(self) -> str:
        return f"<ResultStream of job {self._job_id}>"


class _Chunks:
    def __init__(self, open_download: Callable[[], Download], job_id: str) -> None:
        self._open_download = open_download
        self._job_id = job_id
        self._chunk = bytearray(CHUNK_BYTES)
        self._filled = 0
        self._sha = hashlib.sha256()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        download, room = self._open_download(), memoryview(self._chunk)
        while self._filled < CHUNK_BYTES and (count := await download.read_into(room[self._filled :])):
            self._filled += count
        chunk, self._filled = bytes(room[: self._filled]), 0
        if not chunk:
            self._check_digest(download)
            raise StopAsyncIteration
        if download.digest is not None:
            self._sha.update(chunk)  # in half a millisecond
        return chunk

    def _check_digest(self, download: Download) -> None:
        """Check the digest here: these bytes are not decoded, and a body of unknown length ends wherever its connection does."""
        if download.digest not in {None, self._sha.digest()}:
            with naming_result(self._job_id, download.response.url):
                raise ResultCorruptError("its SHA-256 is not the one that the platform gave")


@contextmanager
def _masking(download: Download) -> Iterator[None]:
    """Mask secrets in an error: it quotes the body, which may repeat what was sent for it."""
    try:
        yield
    except ResultError as error:
        download.mask(error)
        raise
