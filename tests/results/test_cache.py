"""The cache of results: used when the platform confirms it to this account, and never the reason of a failed download."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import json
import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import httpx
import numpy as np
import pytest

from sfjobs import Connection, Job, NotFoundError, ResultCorruptError
from sfjobs._util.atomic_file import AtomicFile
from sfjobs.results import Result
from sfjobs.results.download import cache as caching
from sfjobs.results.download.cache import CacheUsage, CacheWriter, ResultCache, cache_key
from tests.support.fake_platform import FakePlatform, npz

pytestmark = [
    pytest.mark.real_time,
    # trio warns about a generator that is dropped half-way: httpx nests several and closes none of them.
    pytest.mark.filterwarnings("ignore:Exception ignored in. <async_generator object ByteStream"),
]

JOB = "c1b2-job"
SAMPLES = np.random.default_rng(6).integers(0, 256, (20_000, 60), np.uint8)
OTHERS = SAMPLES[::-1].copy()
BODY = npz(SAMPLES)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "kept"


@pytest.fixture(autouse=True)
def _nothing_was_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching, "_reported", set())


@pytest.fixture
def platform() -> FakePlatform:
    return platform_with(BODY)


def platform_with(body: bytes, **headers: str) -> FakePlatform:
    platform = FakePlatform()
    platform.add(id=JOB, ends_at=0.0)
    platform.offers_ranges = True
    platform.result, platform.result_headers = body, headers
    return platform


async def fetched(platform: FakePlatform, folder: Path, job_id: str = JOB, **options: object) -> Result:
    """Fetch the result with a new connection, as a new process does."""
    async with platform.connection(result_cache=str(folder)) as connection:
        return await Job(job_id, "complete", connection).fetch_result(**options)  # type: ignore[arg-type]  # into, mmap


def answers_with_a_body(platform: FakePlatform) -> int:
    sent, platform.body_bytes = platform.body_bytes, 0
    return sent // len(platform.result)


def is_there(folder: Path) -> bool:
    return folder.exists()


def make_file(path: Path) -> None:
    path.write_text("")


def open_to_all(folder: Path) -> None:
    folder.chmod(0o777)


def files_in(folder: Path, suffix: str = "") -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name.endswith(suffix))


# -- used ----------------------------------------------------------------------------------------------------------------


async def test_a_result_is_sent_once(platform: FakePlatform, folder: Path) -> None:
    for _ in range(3):
        np.testing.assert_array_equal((await fetched(platform, folder)).raw, SAMPLES)
    assert answers_with_a_body(platform) == 1
    assert [request.headers.get("if-none-match") is not None for request in results_asked(platform)] == [
        False,
        True,
        True,
    ]


def results_asked(platform: FakePlatform) -> list[httpx.Request]:
    return [request for request in platform.requests if request.url.path.endswith("/result")]


async def test_without_the_setting_no_result_is_cached(platform: FakePlatform, tmp_path: Path) -> None:
    async with platform.connection() as connection:
        for _ in range(2):
            await Job(JOB, "complete", connection).fetch_result()
    assert answers_with_a_body(platform) == 2
    assert files_in(tmp_path) == []


async def test_a_cached_result_can_go_to_every_destination(
    platform: FakePlatform, folder: Path, tmp_path: Path
) -> None:
    await fetched(platform, folder)
    array = np.zeros_like(SAMPLES)
    assert (await fetched(platform, folder, into=array)).raw is array
    mapped = (await fetched(platform, folder, mmap=True)).raw
    assert answers_with_a_body(platform) == 1
    await fetched(platform, folder, into=tmp_path / "r.npz")  # requested by its media type, which makes another key
    await fetched(platform, folder, into=tmp_path / "s.npz")
    assert answers_with_a_body(platform) == 1
    assert (tmp_path / "r.npz").read_bytes() == (tmp_path / "s.npz").read_bytes() == BODY
    assert isinstance(mapped, np.memmap)
    assert mapped.filename == str(files_in(folder, ".body")[0])
    for samples in (array, mapped):
        np.testing.assert_array_equal(samples, SAMPLES)


async def test_a_map_of_a_cached_result_stays_valid_when_the_cache_is_cleared(
    platform: FakePlatform, folder: Path
) -> None:
    await fetched(platform, folder)
    mapped = (await fetched(platform, folder, mmap=True)).raw
    ResultCache(folder, 1).clear()
    np.testing.assert_array_equal(mapped, SAMPLES)


async def test_a_cached_result_is_used_only_after_the_platform_confirmed_it(
    platform: FakePlatform, folder: Path
) -> None:
    """Another account, to which the job does not belong, uses the same cache."""
    await fetched(platform, folder)
    stranger = platform_with(BODY)
    stranger.jobs.clear()
    with pytest.raises(NotFoundError):
        await fetched(stranger, folder)
    with pytest.raises(NotFoundError):
        await fetched(stranger, folder, mmap=True)


async def test_a_result_that_has_changed_is_fetched_and_cached_instead(folder: Path) -> None:
    await fetched(platform_with(BODY), folder)
    changed = platform_with(npz(OTHERS))
    for _ in range(2):
        np.testing.assert_array_equal((await fetched(changed, folder)).raw, OTHERS)
    assert answers_with_a_body(changed) == 1


async def test_another_platform_has_results_of_its_own(platform: FakePlatform, folder: Path) -> None:
    await fetched(platform, folder)
    settings = platform.settings(result_cache=str(folder), url="http://another.test")
    async with Connection(settings=settings, transport=httpx.MockTransport(platform.handle)) as connection:
        await Job(JOB, "complete", connection).fetch_result()
    assert results_asked(platform)[-1].headers.get("if-none-match") is None


async def test_equal_bodies_of_two_jobs_are_stored_once(platform: FakePlatform, folder: Path) -> None:
    platform.add(id="another", ends_at=0.0)
    await fetched(platform, folder)
    await fetched(platform, folder, "another")
    assert (len(files_in(folder, ".entry")), len(files_in(folder, ".body"))) == (2, 1)


# -- not cached -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers", [{"etag": ""}, {"etag": 'W/"v1"'}, {"repr-digest": ""}, {"repr-digest": "md5=:AAAA:"}]
)
async def test_a_body_without_entity_tag_and_digest_is_not_cached(headers: dict[str, str], folder: Path) -> None:
    platform = platform_with(BODY, **headers)
    for _ in range(2):
        np.testing.assert_array_equal((await fetched(platform, folder)).raw, SAMPLES)
    assert answers_with_a_body(platform) == 2
    assert not is_there(folder)


async def test_a_body_of_another_digest_is_not_cached(folder: Path) -> None:
    platform = platform_with(BODY, **{"repr-digest": "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:"})
    np.testing.assert_array_equal((await fetched(platform, folder)).raw, SAMPLES)
    assert files_in(folder) == []


async def test_a_body_that_is_no_result_is_not_cached(folder: Path) -> None:
    with pytest.raises(ResultCorruptError):
        await fetched(platform_with(BODY[:-1]), folder)
    with pytest.raises(ResultCorruptError):
        await fetched(platform_with(b"x" * (3 << 20)), folder)
    assert not is_there(folder) or files_in(folder) == []


async def test_a_body_that_breaks_off_and_starts_again_is_cached_once(folder: Path) -> None:
    platform = platform_with(BODY, **{"accept-ranges": "none"})
    platform.cuts = [len(BODY) // 2]
    for _ in range(2):
        np.testing.assert_array_equal((await fetched(platform, folder)).raw, SAMPLES)
    assert (len(files_in(folder)), len(results_asked(platform))) == (2, 3)


async def test_a_body_larger_than_the_cache_is_not_cached(platform: FakePlatform, folder: Path) -> None:
    async with platform.connection(result_cache=str(folder), result_cache_bytes=len(BODY) - 1) as connection:
        await Job(JOB, "complete", connection).fetch_result()
    assert not is_there(folder)


async def test_a_body_of_unknown_length_larger_than_the_cache_is_not_cached(folder: Path) -> None:
    platform = platform_with(BODY, **{"transfer-encoding": "chunked"})
    async with platform.connection(result_cache=str(folder), result_cache_bytes=len(BODY) - 1) as connection:
        await Job(JOB, "complete", connection).fetch_result()
    assert files_in(folder) == []


# -- damaged -------------------------------------------------------------------------------------------------------------


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGE: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a bit": (".body", flip),
    "shorter": (".body", lambda path: path.write_bytes(path.read_bytes()[:-1])),
    "longer": (".body", lambda path: path.write_bytes(path.read_bytes() + b"x")),
    "empty": (".body", lambda path: path.write_bytes(b"")),
    "gone": (".body", Path.unlink),
    "a folder": (".body", lambda path: (path.unlink(), path.mkdir())),
    "entry gone": (".entry", Path.unlink),
    "entry empty": (".entry", lambda path: path.write_bytes(b"")),
    "entry of something else": (".entry", lambda path: path.write_text("[1]")),
    "entry without digest": (".entry", lambda path: path.write_text('{"etag": "x", "size": 3}')),
    "entry too deep": (".entry", lambda path: path.write_text("[" * 10_000)),
}


@pytest.mark.parametrize("case", DAMAGE)
async def test_a_damaged_result_is_fetched_again(case: str, platform: FakePlatform, folder: Path) -> None:
    await fetched(platform, folder)
    suffix, damage = DAMAGE[case]
    damage(*files_in(folder, suffix))
    np.testing.assert_array_equal((await fetched(platform, folder)).raw, SAMPLES)
    assert answers_with_a_body(platform) == 2
    if case != "a folder":
        np.testing.assert_array_equal((await fetched(platform, folder)).raw, SAMPLES)
        assert answers_with_a_body(platform) == 0


async def test_an_entry_does_not_lead_out_of_the_folder(platform: FakePlatform, folder: Path, tmp_path: Path) -> None:
    await fetched(platform, folder)
    thesis = tmp_path / "thesis.body"
    thesis.write_bytes(b"123")
    files_in(folder, ".entry")[0].write_text(json.dumps({"etag": '"x"', "size": 3, "digest": "../thesis"}))
    np.testing.assert_array_equal((await fetched(platform, folder)).raw, SAMPLES)
    assert thesis.read_bytes() == b"123"


async def test_a_large_body_is_never_in_memory_for_the_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    write = CacheWriter.write

    def spy(self: CacheWriter, data: bytes | bytearray) -> None:
        sizes.append(len(data))
        write(self, data)

    monkeypatch.setattr(CacheWriter, "write", spy)
    body = npz(np.zeros((5 << 20,), np.uint8))
    await fetched(platform_with(body), folder)
    assert (sum(sizes), max(sizes) < 2 << 20) == (len(body), True)


# -- disk errors ----------------------------------------------------------------------------------------------------------


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_full_disk_disables_only_the_cache_and_is_logged_once(
    platform: FakePlatform, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def write(self: AtomicFile, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(AtomicFile, "write", write)
    for _ in range(2):
        np.testing.assert_array_equal((await fetched(platform, folder)).raw, SAMPLES)
    assert files_in(folder) == []
    assert warnings_in(caplog) == [
        f"results are not cached in {folder}: No space left on device. Each one is downloaded again."
    ]


@pytest.mark.parametrize("what", ["a file in its place", "below a file"])
async def test_a_folder_that_cannot_be_created_disables_only_the_cache(
    what: str, platform: FakePlatform, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_file(folder)
    place = folder if what == "a file in its place" else folder / "kept"
    for _ in range(2):
        np.testing.assert_array_equal((await fetched(platform, place)).raw, SAMPLES)
    assert len(warnings_in(caplog)) == 1


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
async def test_a_folder_that_others_can_write_to_is_not_used(
    platform: FakePlatform, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await fetched(platform, folder)
    open_to_all(folder)
    for _ in range(2):
        np.testing.assert_array_equal((await fetched(platform, folder)).raw, SAMPLES)
    assert answers_with_a_body(platform) == 3
    assert warnings_in(caplog) == [
        f"results are not cached in {folder}: others can write to it: chmod 700 {folder}. Each one is downloaded again."
    ]


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
async def test_only_the_user_can_read_the_cache(platform: FakePlatform, folder: Path) -> None:
    await fetched(platform, folder)
    modes = {path.suffix: stat.S_IMODE(path.stat().st_mode) for path in [folder, *files_in(folder)]}
    assert modes == {"": 0o700, ".body": 0o600, ".entry": 0o600}


# -- the folder ----------------------------------------------------------------------------------------------------------


def put(cache: ResultCache, name: str, body: bytes) -> None:
    recording = cache.writer(cache_key(name), '"v1"', hashlib.sha256(body).digest(), len(body))
    assert recording is not None
    recording.complete(body)


def found(cache: ResultCache, name: str) -> bytes | None:
    kept = cache.find(cache_key(name))
    if kept is None:
        return None
    with kept.file:
        return kept.file.read()


def bodies(count: int) -> Iterator[bytes]:
    return (bytes([number]) * 100_000 for number in range(count))


def test_a_search_can_be_stopped_by_its_checkpoint(folder: Path) -> None:
    cache = ResultCache(folder, 1 << 30)
    put(cache, "n", b"x" * (3 << 20))

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.find(cache_key("n"), stop)
    assert found(cache, "n") is not None


@pytest.mark.parametrize("when", ["half-way", "at the end"])
def test_a_task_that_asyncio_cancels_in_a_search_waits_for_no_hash_and_leaves_no_file_open(
    when: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An open file that is dropped is a ResourceWarning, which is an error here."""
    began, may_end, hashed = threading.Event(), threading.Event(), caching.file_digest

    def slow(file: IO[bytes], checkpoint: Callable[[], object]) -> bytes:
        began.set()
        if when == "at the end":
            assert may_end.wait(10)
            return hashed(file, lambda: None)
        for _ in range(1000):
            checkpoint()
            time.sleep(0.01)
        raise AssertionError("nobody said stop")

    async def main(platform: FakePlatform) -> None:
        task = asyncio.create_task(fetched(platform, folder))
        await asyncio.to_thread(began.wait, 10)
        task.cancel()
        await asyncio.sleep(0)
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(fetched(platform_with(BODY), folder))
    monkeypatch.setattr(caching, "file_digest", slow)
    asyncio.run(main(platform_with(BODY)))
    gc.collect()


def test_the_least_recently_used_result_is_evicted_first(folder: Path) -> None:
    cache = ResultCache(folder, 350_000)
    for number, body in enumerate(bodies(3)):
        put(cache, str(number), body)
        time.sleep(0.02)  # the clock of a file system may tick every 10 ms
    assert found(cache, "0") is not None
    time.sleep(0.02)
    put(cache, "3", b"3" * 100_000)
    assert [found(cache, str(number)) is not None for number in range(4)] == [True, False, True, True]
    assert cache.usage().size <= 350_000


def test_another_process_finds_a_result_of_this_one(folder: Path) -> None:
    put(ResultCache(folder, 1 << 20), "a", b"body")
    assert found(ResultCache(folder, 1 << 20), "a") == b"body"


def test_results_of_other_processes_count(folder: Path) -> None:
    ours, theirs = ResultCache(folder, 250_000), ResultCache(folder, 250_000)
    put(ours, "ours", b"o" * 100_000)
    for number, body in enumerate(bodies(4)):
        put(theirs, str(number), body)
    put(ResultCache(folder, 250_000), "new", b"n" * 100_000)
    assert ours.usage().size <= 250_000


def test_a_full_folder_is_not_read_again_for_every_result(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readings = 0
    scandir = os.scandir

    def counted(path: Path) -> object:
        nonlocal readings
        readings += 1
        return scandir(path)

    monkeypatch.setattr("sfjobs.results.download.cache.os.scandir", counted)
    cache = ResultCache(folder, 1_000_000)
    for number in range(200):
        put(cache, str(number), number.to_bytes(2) * 5_000)
    assert 10 <= readings <= 15
    assert cache.usage().size <= 1_000_000
    assert found(cache, "199") is not None


def test_one_result_may_fill_the_cache(folder: Path) -> None:
    cache = ResultCache(folder, 100_000)
    put(cache, "a", b"a" * 99_000)
    put(cache, "b", b"b" * 99_500)
    assert found(cache, "a") is None
    assert found(cache, "b") == b"b" * 99_500


def test_a_result_can_be_evicted_while_it_is_read(folder: Path) -> None:
    cache = ResultCache(folder, 150_000)
    put(cache, "a", b"a" * 100_000)
    kept = cache.find(cache_key("a"))
    assert kept is not None
    with kept.file:
        put(cache, "b", b"b" * 100_000)
        assert kept.file.read() == b"a" * 100_000
    assert (found(cache, "a") is None) is (os.name == "posix")


def test_concurrent_readers_find_complete_bodies_or_none(folder: Path) -> None:
    """Four writers and four readers, each with a cache object of its own, in a cache that holds three of eight bodies."""
    expected = {str(number): body for number, body in enumerate(bodies(8))}
    wrong: list[str] = []
    hits = 0

    def write() -> None:
        cache = ResultCache(folder, 310_000)
        for _ in range(5):
            for name, body in expected.items():
                put(cache, name, body)

    def read() -> None:
        nonlocal hits
        cache = ResultCache(folder, 310_000)
        for _ in range(20):
            for name, body in expected.items():
                there = found(cache, name)
                hits += there is not None
                if there not in (None, body):
                    wrong.append(name)

    threads = [threading.Thread(target=work) for work in (write, read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert hits
    assert files_in(folder, ".part") == []


def test_temporary_files_of_a_crashed_process_are_deleted_after_a_day(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    old, new = folder / f".sfjobs-{'0' * 16}.part", folder / f".sfjobs-{'1' * 16}.part"
    for path in (old, new):
        path.write_bytes(b"x")
    os.utime(old, (0, 0))
    put(ResultCache(folder, 1 << 20), "a", b"body")
    assert files_in(folder, ".part") == [new]


def test_clearing_deletes_only_files_of_the_cache(folder: Path) -> None:
    cache = ResultCache(folder, 1 << 20)
    put(cache, "a", b"a" * 1000)
    put(cache, "b", b"b" * 1000)
    mine = folder / "thesis.body"
    mine.write_text("mine")
    usage = cache.clear()
    assert (usage.results, 2000 < usage.size < 3000) == (2, True)
    assert files_in(folder) == [mine]
    assert cache.usage() == CacheUsage(0, 0)


def test_a_cache_without_a_folder_is_empty(folder: Path) -> None:
    assert ResultCache(folder, 1).usage() == ResultCache(folder, 1).clear() == CacheUsage(0, 0)
    assert found(ResultCache(folder, 1), "a") is None
