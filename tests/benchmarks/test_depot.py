"""The benchmarks of results themselves: wrong counts of the depot or a wrong comparison would falsify every table."""

from __future__ import annotations

import base64
import hashlib
import http.client
import io
import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks.arena import Broken
from tests.benchmarks.bench_results import NPY, NPZ, SFJOBS, Contestant, Course, Depot, Goods
from tests.benchmarks.fast.board import KEY, TOKEN
from tests.benchmarks.placing import Placed

pytestmark = [
    pytest.mark.real_time,
    pytest.mark.skipif(sys.platform != "linux", reason="measures memory by /proc, and sends by Linux's sendfile"),
]

SAMPLES = np.random.default_rng(1).integers(0, 9, (4000, 8))


@pytest.fixture
def goods(tmp_path: Path) -> Goods:
    goods = Goods(tmp_path)
    goods.add("job", SAMPLES)
    return goods


@pytest.fixture
def depot(goods: Goods) -> Iterator[Depot]:
    with Depot() as depot:
        depot.do("offer", results=goods.offered("job"))
        yield depot


@pytest.fixture
def client(depot: Depot) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection(depot.url.removeprefix("http://"), timeout=10)
    yield connection
    connection.close()


def get(
    client: http.client.HTTPConnection, path: str = "/jobs/job/result", **headers: str
) -> tuple[http.client.HTTPResponse, bytes]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    client.request("GET", path, headers={"Authorization": f"Bearer {TOKEN.decode()}", **named})
    answer = client.getresponse()
    return answer, answer.read()


def test_the_version_of_the_protocol_decides_the_format(client: http.client.HTTPConnection) -> None:
    _, archive = get(client, Accept_Version="0.4.0")
    _, array = get(client, Accept_Version="0.2.0")
    _, wanted = get(client, Accept="application/x-numpy")
    assert np.array_equal(np.load(io.BytesIO(archive))["arr_0"], SAMPLES)
    assert np.array_equal(np.load(io.BytesIO(array)), SAMPLES)
    assert wanted == array


def test_a_whole_body_has_a_digest_and_a_tag(client: http.client.HTTPConnection) -> None:
    answer, body = get(client)
    assert (answer.status, answer.headers["accept-ranges"]) == (200, "bytes")
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    assert answer.headers["repr-digest"] == f"sha-256=:{digest}:"
    assert answer.headers["etag"].startswith('"')


@pytest.mark.parametrize(
    ("range_", "first", "end"), [("bytes=100-", 100, None), ("bytes=5-9", 5, 10), ("bytes=7-9999999", 7, None)]
)
def test_a_range_is_a_part_of_the_body(
    client: http.client.HTTPConnection, range_: str, first: int, end: int | None
) -> None:
    whole, body = get(client)
    answer, part = get(client, Range=range_, If_Range=whole.headers["etag"])
    assert (answer.status, part) == (206, body[first:end])
    assert answer.headers["content-range"] == f"bytes {first}-{first + len(part) - 1}/{len(body)}"


def test_a_range_of_another_version_is_the_whole(client: http.client.HTTPConnection) -> None:
    answer, body = get(client, Range="bytes=100-", If_Range='"other"')
    assert (answer.status, len(body)) == (200, int(answer.headers["content-length"]))


def test_a_range_beyond_the_end_is_rejected(client: http.client.HTTPConnection) -> None:
    assert get(client, Range="bytes=9999999-")[0].status == 416


def test_without_ranges_nothing_is_offered(depot: Depot, goods: Goods, client: http.client.HTTPConnection) -> None:
    depot.do("offer", results=goods.offered("job"), resumable=False)
    answer, _ = get(client, Range="bytes=100-")
    assert answer.status == 200
    assert not {"etag", "accept-ranges", "repr-digest"} & {name.lower() for name in answer.headers}


def test_the_connection_is_cut_once_and_every_byte_is_counted(depot: Depot, client: http.client.HTTPConnection) -> None:
    depot.do("cut", after=1000)
    with pytest.raises(http.client.IncompleteRead) as caught:
        get(client)
    assert len(caught.value.partial) == 1000
    client.close()
    _, body = get(client)
    _, part = get(client, Range="bytes=1000-")
    report = depot.do("report")
    assert report["bytes"] == 1000 + len(body) + len(part)
    assert report["ranges"] == [[1000, len(body) - 1]]
    assert report["requests"] == {"result": 3}
    assert report["connections"] == 2


def test_an_offer_resets_the_counts(depot: Depot, goods: Goods, client: http.client.HTTPConnection) -> None:
    get(client)
    depot.do("offer", results=goods.offered("job"))
    assert depot.do("report")["bytes"] == 0


def test_a_request_without_a_token_is_rejected(depot: Depot) -> None:
    with socket.create_connection(("127.0.0.1", int(depot.url.rpartition(":")[2])), timeout=10) as sock:
        sock.sendall(b"GET /jobs/job/result HTTP/1.1\r\n\r\n")
        assert sock.recv(1 << 16).startswith(b"HTTP/1.1 401")


def test_every_job_is_complete(client: http.client.HTTPConnection) -> None:
    _, body = get(client, "/jobs/any")
    assert (json.loads(body)["id"], json.loads(body)["status"]) == ("any", "complete")


def test_a_token_is_for_the_key(client: http.client.HTTPConnection) -> None:
    path = "/auth/realms/platform/protocol/openid-connect/token"
    for key, status in ((KEY, 200), ("wrong", 400)):
        client.request("POST", path, f"grant_type=refresh_token&refresh_token={key}")
        answer = client.getresponse()
        answer.read()
        assert answer.status == status


@pytest.mark.parametrize("version", [NPY, NPZ])
def test_a_contestant_is_measured(depot: Depot, goods: Goods, version: str) -> None:
    course = Course(depot, goods, "job", version)
    outcome = course.fetch(SFJOBS)
    assert outcome.sent == course.size
    assert outcome.wall > 0


@pytest.mark.parametrize("how", ["whole", "placed", "checked", "dropped"])
@pytest.mark.parametrize("version", [NPY, NPZ])
def test_contestants_without_a_library_return_the_array_that_was_sent(
    depot: Depot, goods: Goods, version: str, how: str
) -> None:
    by_hand = Contestant("httpx", "fetch_by_hand", {"client": "httpx", "how": how})
    assert Course(depot, goods, "job", version).fetch(by_hand).sent > SAMPLES.nbytes


def test_a_contestant_with_another_array_is_an_error(depot: Depot, goods: Goods, tmp_path: Path) -> None:
    course = Course(depot, goods, "job", NPZ)
    np.save(tmp_path / "job.npy", SAMPLES + 1)
    with pytest.raises(Broken, match="differs from the array that was sent"):
        course.fetch(SFJOBS)


def test_a_contestant_with_another_type_is_an_error(depot: Depot, goods: Goods, tmp_path: Path) -> None:
    course = Course(depot, goods, "job", NPZ)
    np.save(tmp_path / "job.npy", SAMPLES.astype(np.uint8))
    with pytest.raises(Broken, match="differs from the array that was sent"):
        course.fetch(SFJOBS)


@pytest.mark.parametrize("form", ["npy", "npz"])
def test_the_checked_contestant_detects_a_change_of_one_bit(goods: Goods, form: str) -> None:
    body = bytearray(goods.path("job", form).read_bytes())
    body[5000] ^= 1
    placed = Placed(checked=True)
    for start in range(0, len(body), 777):
        placed.feed(bytes(body[start : start + 777]))
    if form == "npz":
        with pytest.raises(AssertionError):
            placed.finish()
    else:
        assert not np.array_equal(placed.finish(), SAMPLES)
