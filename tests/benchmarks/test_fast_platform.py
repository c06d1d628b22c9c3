"""The fast platform itself: wrong counts would make every table wrong."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator

import pytest

import sfjobs
from sfjobs.testing.loops import VirtualLoop
from tests.benchmarks import raw
from tests.benchmarks.arena import (
    Broken,
    Contestant,
    Course,
    FastPlatform,
    compete,
    least_list_requests,
    percentile,
)
from tests.benchmarks.fast.board import KEY, TARGET, Board, job_id, job_index, uniform
from tests.benchmarks.fast.delay import DelayLine
from tests.benchmarks.fast.protocol import Bucket


@pytest.fixture
def platform() -> Iterator[FastPlatform]:
    with FastPlatform() as platform:
        yield platform


def submit(board: Board, jobs: int) -> None:
    for _ in range(jobs):
        board.submit(0.0, {"name": None})


def changed_jobs(board: Board, after: int) -> list[tuple[int, str]]:
    """Return the jobs of the events after this change, and their statuses."""
    data = [line[6:] for line in board.events(after).split(b"\n") if line.startswith(b"data: ")]
    return [(job_index(job["id"]), job["status"]) for job in map(json.loads, data)]


def test_a_job_ends_when_a_client_could_first_see_it() -> None:
    board = Board()
    submit(board, 2)
    board.schedule(10.0, [1.0, 5.0])
    assert not board.advance(10.9)
    assert board.advance(11.2)
    assert board.ended == [11.2, None]
    assert json.loads(board.text(0))["status"] == "complete"
    assert json.loads(board.text(1))["status"] == "open"


def test_events_have_each_job_once_in_its_newest_state_the_oldest_change_first() -> None:
    board = Board()
    submit(board, 3)
    board.schedule(0.0, [2.0, 9.0, 1.0])
    board.advance(3.0)
    assert changed_jobs(board, 0) == [(1, "open"), (2, "complete"), (0, "complete")]
    assert changed_jobs(board, 3) == [(2, "complete"), (0, "complete")]
    assert changed_jobs(board, board.newest_change) == []


@pytest.mark.parametrize("cursor", [b"", b"1", b"00000000.1", b"EPOCH.4", b"EPOCH.-1", b"EPOCH.x"])
def test_a_cursor_of_another_board_is_none(cursor: bytes) -> None:
    board = Board()
    submit(board, 3)
    assert board.change_at(cursor.replace(b"EPOCH", board.epoch.encode())) is None
    assert board.change_at(board.cursor(2)) == 2


def test_the_same_key_returns_the_same_job() -> None:
    board = Board()
    assert [board.submit(0.0, {}, key) for key in ("a", "b", "a")] == [0, 1, 0]
    assert len(board) == 2


def test_all_jobs_end_in_random_order() -> None:
    offsets = uniform(10, 1.0, 10.0, seed=1)
    assert sorted(offsets) == pytest.approx(range(1, 11))
    assert offsets != sorted(offsets)


def test_a_delay_line_keeps_delay_and_order() -> None:
    loop = VirtualLoop()
    line, calls = DelayLine(loop, 0.5, loop.time), list[tuple[str, float]]()

    def say(word: str) -> None:
        calls.append((word, loop.time()))
        if word == "b":
            line.put(say, "d")

    line.put(say, "a")
    line.put(say, "b")
    loop.call_later(0.2, line.put, say, "c")
    loop.run_until_complete(asyncio.sleep(2))
    loop.close()
    assert calls == [("a", 0.5), ("b", 0.5), ("c", 0.7), ("d", 1.0)]


def test_without_a_round_trip_time_there_is_no_delay() -> None:
    loop, calls = VirtualLoop(), list[str]()
    DelayLine(loop, 0.0).put(calls.append, "a")
    loop.close()
    assert calls == ["a"]


def test_a_bucket_allows_its_content_and_then_its_rate() -> None:
    bucket = Bucket(5.0)
    assert [bucket.acquire(0.0) for _ in range(5)] == [0.0] * 5
    assert bucket.acquire(0.1) == pytest.approx(0.1)
    assert bucket.acquire(0.21) == 0.0
    assert bucket.acquire(0.21) > 0.0


@pytest.mark.parametrize(
    ("ends", "requests"),
    [([0.5], 1), ([0.5] * 100, 1), ([0.5] * 101, 2), ([0.5] * 50 + [1.5] * 60, 3), ([1.0], 1), ([2.5], 3), ([], 0)],
)
def test_the_least_list_requests_are_one_for_each_hundred_unfinished_jobs_a_second(
    ends: list[float], requests: int
) -> None:
    assert least_list_requests([100 + end for end in ends], 100.0, len(ends)) == requests


def test_percentiles_are_values_that_were_measured() -> None:
    assert [percentile(list(range(1, 101)), share) for share in (0.0, 0.5, 0.99, 1.0)] == [1, 51, 100, 100]
    assert percentile([], 0.5) != percentile([], 0.5)


@pytest.mark.real_time
async def test_sfjobs_can_use_the_fast_platform(platform: FastPlatform) -> None:
    epoch = platform.do("scenario", lifetime=0.05)["epoch"]
    async with sfjobs.Connection(platform.url, api_key=KEY) as connection:
        jobs = [job async for job in connection.create_jobs(TARGET, [raw.PROGRAM] * 5, window=5)]
        assert sorted(job.id for job in jobs if isinstance(job, sfjobs.Job)) == [job_id(epoch, k) for k in range(5)]
        await sfjobs.wait_all([job for job in jobs if isinstance(job, sfjobs.Job)])
        assert all(isinstance(job, sfjobs.Job) and job.result.samples.shape == (30, 25) for job in jobs)
    report = platform.do("report")
    assert report["before"]["requests"] == {}
    assert report["since"]["requests"]["token"] == 1
    assert report["since"]["requests"]["result"] == 5
    assert all(end is not None for end in report["ended"])


@pytest.mark.real_time
def test_a_stream_continues_from_the_offered_cursor(platform: FastPlatform) -> None:
    epoch = platform.do("scenario")["epoch"]
    platform.do("create", jobs=2)
    with socket.create_connection(("127.0.0.1", platform.port), timeout=10) as sock:
        assert b'link: </jobs/changes?since=%s.2>; rel="monitor"' % epoch.encode() in request(sock, "/jobs?size=1")
        platform.do("start", first=0, last=0, seed=1)
        sock.sendall(raw.request("GET", f"/jobs/changes?since={epoch}.2"))
        events = b""
        while events.count(b"event: job") < 2:
            events += sock.recv(1 << 16)
    assert b"\r\n\r\nd\r\nretry: 1000\n\n" in events
    assert b"id: %s.3\n" % epoch.encode() in events
    assert events.count(b'"status":"complete"') == 2


@pytest.mark.real_time
def test_a_feature_that_is_not_offered_is_absent(platform: FastPlatform) -> None:
    platform.do("scenario", feed=False, batches=False)
    with socket.create_connection(("127.0.0.1", platform.port), timeout=10) as sock:
        listed = request(sock, "/jobs?size=1")
        assert b"link:" not in listed
        assert b"accept-post:" not in listed
        assert request(sock, "/jobs/changes").startswith(b"HTTP/1.1 404")


@pytest.mark.real_time
def test_a_foreign_cursor_has_expired(platform: FastPlatform) -> None:
    with socket.create_connection(("127.0.0.1", platform.port), timeout=10) as sock:
        answer = request(sock, "/jobs/changes?since=00000000.7")
    assert answer.startswith(b"HTTP/1.1 410")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "cursor-expired"


@pytest.mark.real_time
def test_a_limit_answers_429_and_counts_it(platform: FastPlatform) -> None:
    platform.do("scenario", rate=2)
    with socket.create_connection(("127.0.0.1", platform.port), timeout=10) as sock:
        answers = [request(sock, "/jobs?size=1") for _ in range(3)]
    assert [answer[9:12] for answer in answers] == [b"200", b"200", b"429"]
    assert b"\r\nretry-after: 1\r\n" in answers[-1]
    assert platform.do("report")["since"]["requests"] == {"list": 2, "limited": 1}


@pytest.mark.real_time
def test_a_contestant_is_measured(platform: FastPlatform) -> None:
    outcome = compete(platform, Contestant("sfjobs", "watch_sfjobs"), Course(3, first=0.1, last=0.2))
    assert outcome.client_report["finished"]
    assert outcome.jobs == len(outcome.ends) == len(outcome.lateness) == 3
    assert outcome.requests["list"] >= 1
    assert outcome.connections >= 1


@pytest.mark.real_time
def test_a_contestant_that_fails_is_an_error(platform: FastPlatform) -> None:
    with pytest.raises(Broken, match="KeyError: 'seconds'"):
        compete(platform, Contestant("no client", "watch_idle", {"no": "seconds"}), Course(1))


def request(sock: socket.socket, path: str) -> bytes:
    """Return one response, which is small enough for one packet."""
    sock.sendall(raw.request("GET", path))
    return sock.recv(1 << 16)
