"""The result of one job as it comes: in pieces, into memory or into a file, whichever is asked for first."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Self

from ..._http.download import Download, Downloading
from ..._util.aio import Closeable
from ...errors import ResultCorruptError, ResultError
from ..result import Result
from ..statistics import Array
from .to_file import check_suffix, save
from .to_memory import naming, receive

CHUNK_BYTES = 1 << 20


class ResultStream(Closeable):
    """
    The result of a job on its way, between ``async with`` and the end of its block.

    It is used once: by ``async for chunk in stream``, by ``result()`` or ``array()``, or by ``save()``. A second use raises
    RuntimeError. Where the connection breaks it goes on by itself, if the platform can do that, and raises TransportError if
    not: then open the result again. One task at a time.
    """

    def __init__(self, job_id: str, begin: Callable[[], Awaitable[Downloading]], max_bytes: int) -> None:
        self._job_id = job_id
        self._begin = begin
        self._max_bytes = max_bytes
        self._held = AsyncExitStack()
        self._download: Download | None = None
        self._use: str | None = None

    async def __aenter__(self) -> Self:
        self._download = await self._held.enter_async_context(await self._begin())
        return self

    async def aclose(self) -> None:
        """Ends the download. Safe to call twice."""
        self._download = None
        await self._held.aclose()

    @property
    def length(self) -> int | None:
        """Bytes of the whole body, None where the platform does not say."""
        return self._opened().length

    async def result(self) -> Result:
        """
        The whole result, in memory.

        Raises ResultCorruptError, or ResultTooLargeError above ``max_result_bytes``.
        """
        download = self._taken("result()")
        with _masking(download):
            return await receive(download, max_bytes=self._max_bytes, job_id=self._job_id, url=download.answer.url)

    async def array(self) -> Array:
        """The samples, as ``result().samples``: of shape (shots, modes), or (shots, spatial modes, timebins)."""
        return (await self.result()).samples

    async def save(self, path: str | os.PathLike[str]) -> Path:
        """
        Writes the result to a file as the platform sends it, and returns the file's path.

        That is ``.npz``, or ``.npy`` from a platform of version 0.2.0: another suffix raises ValueError. The file appears
        whole and checked, or not at all; then what was there before is as it was. Raises ResultCorruptError, and OSError of
        the disk.
        """
        file = Path(path)
        check_suffix(file)
        download = self._taken("save()")
        with _masking(download):
            await save(download, file, max_bytes=self._max_bytes, job_id=self._job_id, url=download.answer.url)
        return file

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Chunks of a MiB; the last may be shorter. A step that was cancelled has lost nothing, and may be made again."""
        self._taken("a loop over its chunks")
        return _Chunks(self._opened, self._job_id)

    def _opened(self) -> Download:
        if self._download is None:
            raise RuntimeError(f"the result of job {self._job_id} is not open: use it inside its `with` block")
        return self._download

    def _taken(self, use: str) -> Download:
        download = self._opened()
        if self._use is not None:
            raise RuntimeError(
                f"the result of job {self._job_id} was taken by {self._use} already, and comes once: open it again for {use}"
            )
        self._use = use
        return download

    def __repr__(self) -> str:
        return f"<ResultStream of job {self._job_id}>"


class _Chunks:
    def __init__(self, opened: Callable[[], Download], job_id: str) -> None:
        self._opened = opened
        self._job_id = job_id
        self._chunk = bytearray(CHUNK_BYTES)
        self._filled = 0
        self._sha = hashlib.sha256()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        download, room = self._opened(), memoryview(self._chunk)
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
        """Nobody decodes these bytes, and one that says no length ends wherever its connection does."""
        if download.digest not in {None, self._sha.digest()}:
            with naming(self._job_id, download.answer.url):
                raise ResultCorruptError("its SHA-256 is not that of the platform's result")


@contextmanager
def _masking(download: Download) -> Iterator[None]:
    """An error that quotes the body may quote what was sent for it."""
    try:
        yield
    except ResultError as error:
        download.mask(error)
        raise
