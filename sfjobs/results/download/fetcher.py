"""
Fetches the result of a job into memory, the caller's array, a file or a memory map: over the network or, if the platform confirms
that it has not changed, from the cache.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import numpy as np

from ..._http.download import ByteSource, Download, Downloading
from ..._http.messages import NotModified, Request, Response
from ..._protocol.wire import job_path
from ..._util.aio import in_thread
from ...config import Settings
from ...errors import ResultTooLargeError
from ..formats.buffers import UserArrayBuffer
from ..formats.memory_map import map_arrays
from ..formats.npy import Array
from ..formats.npz import NamedBufferFor, any_buffer
from ..result import Result
from .cache import ResultCache, cache_key
from .cached_body import CachedSource, WriteThroughSource, find
from .to_file import check_suffix, save, spool
from .to_memory import naming_result, receive

if TYPE_CHECKING:
    from ..._http.transport import Transport

T = TypeVar("T")

Use: TypeAlias = Callable[[ByteSource, str], Awaitable[T]]
"""Consumes a body from this URL. Called again with another body if one broke off and could not be resumed."""

Into: TypeAlias = Array | str | os.PathLike[str]
"""The destination of samples: an array, or the path of a file."""

_NPY, _NPZ = "application/x-numpy", "application/zip"


class ResultFetcher:
    """Fetches results from one platform."""

    def __init__(self, settings: Settings, transport: Transport) -> None:
        self._settings = settings
        self._transport = transport
        folder = settings.result_cache
        self._cache = None if folder is None else ResultCache(Path(folder), settings.result_cache_bytes)

    async def fetch(self, job_id: str, *, into: Into | None = None, mmap: bool = False) -> Result:
        """Implement ``Job.fetch_result``."""
        if into is None:
            return await self._fetch(job_id, partial(self._map if mmap else self._receive, job_id))
        if not isinstance(into, np.ndarray):
            return await self._into_file(job_id, Path(into), mmap)
        if mmap:
            raise ValueError("an array cannot be a memory map: give into= the path of a file, or leave it out")
        return await self._into_array(job_id, into)

    def open(self, job_id: str) -> Downloading:
        """Return the body from the platform for ``async with``."""
        return self._transport.download(replace(self._request(job_id), lane="stream"))

    async def _into_array(self, job_id: str, array: Array) -> Result:
        buffer = UserArrayBuffer(array, job_id)
        try:
            result = await self._fetch(job_id, partial(self._receive, job_id, buffer_for=buffer.buffer_for))
            if result.raw is array:
                return result
            await in_thread(buffer.copy, result.raw)
            return Result([array, *result.outputs[1:]], result.metadata, job_id=job_id)
        except Exception as error:
            if buffer.is_overwritten:
                error.add_note("The given array was partly overwritten: it holds neither its old values nor a result.")
            raise

    async def _into_file(self, job_id: str, path: Path, mmap: bool) -> Result:
        check_suffix(path)
        await self._fetch(job_id, partial(self._save, job_id, path, mmap), _NPY if path.suffix == ".npy" else _NPZ)
        load = partial(Result.load, path, mmap=mmap, max_bytes=self._settings.max_result_bytes)
        result = await in_thread(load)
        result.job_id = job_id
        return result

    async def _receive(
        self, job_id: str, source: ByteSource, url: str, buffer_for: NamedBufferFor = any_buffer
    ) -> Result:
        limit = self._settings.max_result_bytes
        return await receive(source, max_bytes=limit, job_id=job_id, url=url, buffer_for=buffer_for)

    async def _save(self, job_id: str, path: Path, mmap: bool, source: ByteSource, url: str) -> None:
        limit = self._settings.max_result_bytes
        if not mmap and source.length is not None and source.length > limit:
            with naming_result(job_id, url):
                raise ResultTooLargeError(f"its file has {source.length} bytes, more than the limit of {limit}")
        await save(source, path, max_bytes=limit, job_id=job_id, url=url)

    async def _map(self, job_id: str, source: ByteSource, url: str) -> Result:
        if isinstance(source, CachedSource):
            arrays = await in_thread(map_arrays, source.file)
        else:
            file = await spool(source, max_bytes=self._settings.max_result_bytes, job_id=job_id, url=url)
            with file:
                arrays = await in_thread(map_arrays, file)
        return Result.from_arrays(arrays, job_id=job_id)

    async def _fetch(self, job_id: str, use: Use[T], media_type: str | None = None) -> T:
        """Return ``use`` of the body, from the network or the cache. The platform decides whether the cached one is current."""
        request = self._request(job_id, media_type)
        if self._cache is None:
            return await self._transport.receive(request, lambda response, download: use(download, response.url))
        key = cache_key(self._settings.url, self._settings.api_version, job_id, request.headers.get("Accept", ""))
        use_and_cache = partial(self._write_through, self._cache, key, use)
        cached = await find(self._cache, key)
        if cached is None:
            return await self._transport.receive(request, use_and_cache)
        with cached.file:
            request = self._request(job_id, media_type, etag=cached.entry.etag)
            try:
                return await self._transport.receive(request, use_and_cache)
            except NotModified:
                pass
            return await use(CachedSource(cached), f"the cache of {self._settings.url}")

    async def _write_through(
        self, cache: ResultCache, key: str, use: Use[T], response: Response, download: Download
    ) -> T:
        """Use a body, and write it to the cache meanwhile if the platform gave its entity tag and digest."""
        writer = None
        if download.etag is not None and download.digest is not None:
            writer = cache.writer(key, download.etag, download.digest, download.length)
        if writer is None:
            return await use(download, response.url)
        source = WriteThroughSource(download, writer)
        try:
            outcome = await use(source, response.url)
            await source.complete()
        finally:
            await source.aclose()
        return outcome

    def _request(self, job_id: str, media_type: str | None = None, *, etag: str | None = None) -> Request:
        if media_type is None and self._settings.api_version == "0.2.0":
            media_type = _NPY
        headers = {} if media_type is None else {"Accept": media_type}
        if etag is not None:
            headers["If-None-Match"] = etag
        return Request(method="GET", path=job_path(job_id, "/result"), headers=headers, expect=frozenset({200}))
