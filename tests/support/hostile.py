"""
A table of broken and malicious responses: the operation that gets each one, and the error it must raise. ``run`` runs one case.
As a script, this file runs all cases and prints the growth of the process' memory.
"""

from __future__ import annotations

import gc
import gzip
import io
import json
import resource
import struct
import sys
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import anyio
import httpx
import numpy as np

from sfjobs import Connection, Job
from sfjobs._client.connection import internals
from sfjobs.errors import (
    AuthenticationError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    ProtocolError,
    RateLimitedError,
    ResponseError,
    ResultCorruptError,
    ResultTooLargeError,
    ServerError,
    SFJobsError,
    SubmissionUnknownError,
    TransportError,
)
from sfjobs.testing.loops import VirtualLoop
from tests.support.fake_platform import SAMPLES, FakePlatform, npy, npz

JOB = "c1b2-job"
SUBMISSION = "name p\nversion 1.0\n\nMeasureFock() | 0\n"
MAX_RESULT = 2**20
MakeResponse = Callable[[], httpx.Response]


async def _drain(jobs: AsyncIterator[Job]) -> int:
    count = 0
    async for _ in jobs:
        count += 1
        assert count < 1000, "the platform has one job"
    return count


@dataclass(frozen=True)
class Operation:
    """What a caller does, and the request of it that the hostile response is for."""

    act: Callable[[Connection], Awaitable[object]]
    method: str
    path: str


OPERATIONS = {
    "ping": Operation(lambda c: c.ping(), "GET", "/healthz"),
    "create_job": Operation(lambda c: c.create_job("X8_01", SUBMISSION), "POST", "/jobs"),
    "get_job": Operation(lambda c: c.get_job(JOB), "GET", f"/jobs/{JOB}"),
    "list_jobs": Operation(lambda c: _drain(c.list_jobs()), "GET", "/jobs"),
    "wait": Operation(lambda c: internals(c).api.jobs(ids=[JOB], attempts=1), "GET", "/jobs"),
    "cancel": Operation(lambda c: c.cancel_job(JOB), "PATCH", f"/jobs/{JOB}"),
    "result": Operation(lambda c: c.get_job_result(JOB), "GET", f"/jobs/{JOB}/result"),
    "circuit": Operation(lambda c: c.get_job_circuit(JOB), "GET", f"/jobs/{JOB}/circuit"),
    "list_devices": Operation(lambda c: c.list_devices(), "GET", "/devices"),
    "get_device": Operation(lambda c: c.get_device("X8_01"), "GET", "/devices/X8_01"),
    "specification": Operation(lambda c: c.get_device("X8_01"), "GET", "/devices/X8_01/specifications"),
    "certificate": Operation(lambda c: c.get_device("X8_01"), "GET", "/devices/X8_01/certificate"),
    "token": Operation(lambda c: c.ping(), "POST", "/auth/realms/platform/protocol/openid-connect/token"),
}
JSON_OPERATIONS = [name for name in OPERATIONS if name not in ("ping", "cancel", "result")]


@dataclass(frozen=True)
class Case:
    name: str
    operation: str
    response: MakeResponse
    error: type[SFJobsError]

    @property
    def id(self) -> str:
        return f"{self.operation}: {self.name}"


def body(content: bytes | str, status: int = 200, **headers: str) -> MakeResponse:
    data = content.encode() if isinstance(content, str) else content
    return lambda: httpx.Response(status, content=data, headers={k.replace("_", "-"): v for k, v in headers.items()})


def json_response(value: object, status: int = 200, **headers: str) -> MakeResponse:
    return body(json.dumps(value), status, **headers)


def streamed(chunk: bytes, times: int, *, start: bytes = b"", **headers: str) -> MakeResponse:
    """A body that neither side holds as a whole."""

    async def chunks() -> AsyncIterator[bytes]:
        yield start
        for _ in range(times):
            yield chunk

    return lambda: httpx.Response(200, content=chunks(), headers={k.replace("_", "-"): v for k, v in headers.items()})


def broken(error: Exception, start: bytes = b"") -> MakeResponse:
    async def chunks() -> AsyncIterator[bytes]:
        yield start
        raise error

    return lambda: httpx.Response(200, content=chunks())


def job(**fields: object) -> dict[str, object]:
    return {"id": JOB, "status": "queued", "meta": {}, **fields}


def job_text(**fields: str) -> str:
    """A job with fields as JSON text, for JSON that Python would not write."""
    given = {"id": f'"{JOB}"', "status": '"queued"', "meta": "{}", **fields}
    return "{" + ", ".join(f'"{key}": {value}' for key, value in given.items()) + "}"


PAGE = "<html><body><h1>502 Bad Gateway</h1></body></html>"
BODIES: dict[str, MakeResponse] = {
    "a page of HTML": body(PAGE, content_type="text/html"),
    "JSON cut off": body('{"data": [{"id": "c1b2-job", "stat'),
    "nothing": body(b""),
    "no content": body(b"", 204),
    "null": body("null"),
    "two megabytes of empty objects": body("[" + "{}," * 700_000 + "{}]"),
    "six megabytes of texts": body('["ab"' + ',"ab"' * 1_200_000 + "]"),
    "five megabytes of numbers": body("[1.5" + ",1.5" * 1_300_000 + "]"),
    "a list": body("[]"),
    "a bare text": body('"queued"'),
    "a number": body("7e999"),
    "lists 100 000 deep": body("[" * 100_000 + "]" * 100_000),
    "objects 100 000 deep": body('{"data":' * 100_000 + "{}" + "}" * 100_000),
    "bytes that are not UTF-8": body(b'{"id": "c1b2-job", "status": "\xff\xfe\xfa"}'),
    "two objects": body("{}{}"),
    "more than the limit": streamed(b" " * 2**16, 200 * 16),
    "more than the limit in one text": streamed(b"x" * 2**16, 200 * 16, start=b'{"id": "'),
    "gzip of something else": streamed(gzip.compress(b"[7]"), 1, content_encoding="gzip"),
    "gzip cut off": streamed(gzip.compress(b"{}")[:-9], 1, content_encoding="gzip"),
    "no gzip, though it says so": streamed(b"{}", 1, content_encoding="gzip"),
    "a coding that cannot be read": streamed(b"{}", 1, content_encoding="br"),
    "a bomb of gzip": streamed(gzip.compress(b" " * 2**28), 1, content_encoding="gzip"),
    "a redirect elsewhere": json_response(None, 307, location="https://evil.test/jobs?leak=1"),
    "a redirect for good": json_response(None, 301, location="//evil.test/"),
    "a redirect without a valid URL": json_response(None, 302, location="http://[evil"),
    "a status from the future": body("{}", 600),
    "not modified": body("{}", 304),
}
JSON_BODIES = {"null", "a list", "a bare text", "a number", "gzip of something else"}
"""Each is JSON, and so a certificate that is left out."""

BAD_JOBS: dict[str, MakeResponse] = {
    **{
        f"the id {shown}": json_response(job(id=value))
        for shown, value in {
            "a number": 7,
            "null": None,
            "a path": "../x",
            "two dots": "..",
            "empty": "",
            "of 10 kB": "x" * 10_000,
            "with a line break": "c1b2\njob",
        }.items()
    },
    **{
        f"the status {value!r:.20}": json_response(job(status=value))
        for value in (7, None, "", ["complete"], "x" * 10_000, "a\nb")
    },
    "a status that is a lone surrogate": body(job_text(status='"\\ud800"')),
    "a status that is repeated, at last wrongly": body('{"id": "c1b2-job", "status": "queued", "status": 7}'),
}
ODD_JOBS: dict[str, MakeResponse] = {
    **{
        f"running_time {text:.10}": body(job_text(running_time=text))
        for text in ("NaN", "1e400", "1" * 4000, "1" * 5000)
    },
    "running_time a text": json_response(job(running_time="9us")),
    "running_time true": json_response(job(running_time=True)),
    "meta a list": json_response(job(meta=[1])),
    "meta a text": json_response(job(meta="oops")),
    "created_at garbage": json_response(job(created_at="yesterday")),
    "created_at a number": json_response(job(created_at=1.6e9)),
    "finished_at on no day": json_response(job(finished_at="2026-02-30T00:00:00Z")),
    "the name a number": json_response(job(name=7)),
    "the target an object": json_response(job(target={})),
    "a name that is a lone surrogate": body(job_text(name='"\\ud800"')),
    "a name that is not UTF-8": body(job_text().encode()[:-1] + b', "name": "\xff\xfe"}'),
    "a name with a line break": body(job_text(name='"a\nb"')),
}
"""Each is a job all the same."""


def in_a_list(response: MakeResponse) -> MakeResponse:
    def wrapped() -> httpx.Response:
        return httpx.Response(200, content=b'{"data": [' + response().content + b"]}")

    return wrapped


def archive(*members: tuple[str, bytes], **options: Any) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **options) as zipped:
        for name, data in members:
            zipped.writestr(name, data)
    return file.getvalue()


def _header(text: bytes, length: int | None = None) -> bytes:
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", len(text) if length is None else length) + text


def _npy_header(shape: str, descr: str = "|u1") -> bytes:
    return _header(f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n".encode())


PICKLED = io.BytesIO()
np.save(PICKLED, np.array([{"a": 1}, None], dtype=object), allow_pickle=True)
WHOLE = npz(SAMPLES)
FLIPPED = WHOLE.replace(SAMPLES.tobytes(), bytes(len(SAMPLES.tobytes())))
BOMB = archive(("arr_0.npy", npy(np.zeros(2 * MAX_RESULT, dtype=np.uint8))), compression=zipfile.ZIP_DEFLATED)


def not_understood(operation: str, name: str = "") -> type[SFJobsError]:
    """The error of an invalid response. After a submission it is unknown whether there is a job, but for status 307."""
    is_unknown = operation == "create_job" and name != "a redirect elsewhere"
    return SubmissionUnknownError if is_unknown else ProtocolError


BAD_RESULTS: dict[str, tuple[MakeResponse, type[SFJobsError]]] = {
    "a page of HTML": (body(PAGE, content_type="text/html"), ProtocolError),
    "nothing": (body(b""), ResultCorruptError),
    "JSON": (json_response({"result": [[0, 1]]}), ResultCorruptError),
    "a pickle": (body(b"\x80\x04\x95\x1e\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94."), ResultCorruptError),
    "pickled objects": (body(PICKLED.getvalue()), ResultCorruptError),
    "pickled objects in an archive": (body(archive(("arr_0.npy", PICKLED.getvalue()))), ResultCorruptError),
    "the type object": (body(_npy_header("(2, 2)", "|O") + b"\0" * 32), ResultCorruptError),
    "a header of 4 GiB": (body(_header(b"{'descr'", 0xFFFFFFFF)), ResultCorruptError),
    "an array of 2**62 bytes": (streamed(b"", 0, start=_npy_header(f"({2**62},)")), ResultTooLargeError),
    "a shape whose product wraps": (
        streamed(b"", 0, start=_npy_header(f"({2**32}, {2**32}, 16)")),
        ResultTooLargeError,
    ),
    "a shape of 10 000 dimensions": (body(_npy_header(f"({'1,' * 3000})")), ResultCorruptError),
    "half an array": (body(npy(SAMPLES)[:-2]), ResultCorruptError),
    "more than an array": (body(npy(SAMPLES) + b"!"), ResultCorruptError),
    "half an archive": (body(WHOLE[: len(WHOLE) // 2]), ResultCorruptError),
    "an archive without its end": (body(WHOLE[:-10]), ResultCorruptError),
    "an archive with a wrong checksum": (body(FLIPPED), ResultCorruptError),
    "a member outside": (body(archive(("../../arr_0.npy", npy(SAMPLES)))), ResultCorruptError),
    "a member with an absolute name": (body(archive(("/etc/arr_0.npy", npy(SAMPLES)))), ResultCorruptError),
    "a member that is a page": (body(archive(("arr_0.npy", PAGE.encode()))), ResultCorruptError),
    "a bomb": (body(BOMB), ResultTooLargeError),
    "an array without end": (streamed(b"\0" * 2**16, 64, start=_npy_header("(1024,)")), ResultCorruptError),
    "an archive without end": (streamed(b"\0" * 2**16, 200, start=WHOLE[:40]), ResultCorruptError),
    "gzip cut off": (streamed(gzip.compress(WHOLE)[:-9], 1, content_encoding="gzip"), ProtocolError),
    "no gzip, though it says so": (streamed(WHOLE, 1, content_encoding="gzip"), ProtocolError),
    "a connection that breaks": (broken(httpx.ReadError("reset"), WHOLE[:20]), TransportError),
    "a redirect elsewhere": (json_response(None, 302, location="https://evil.test/x.npz"), ProtocolError),
    "no content": (body(b"", 204), ProtocolError),
    "a refusal in HTML": (body(PAGE, 403), PermissionDeniedError),
}
LONG = str(10**11)
SPECIAL = [
    Case("no content", "ping", body(b"", 204), ProtocolError),
    Case("a redirect elsewhere", "ping", json_response(None, 307, location="https://evil.test/"), ProtocolError),
    Case("created", "get_job", json_response(job(), 201), ProtocolError),
    Case("accepted", "list_jobs", json_response({"data": []}, 202), ProtocolError),
    Case("another job", "get_job", json_response(job(id="somebody-elses")), ProtocolError),
    Case("a list of jobs", "get_job", json_response({"data": [job()]}), ProtocolError),
    Case("a job", "list_jobs", json_response(job()), ProtocolError),
    Case("data that is an object", "list_jobs", json_response({"data": {}}), ProtocolError),
    Case("a redirect elsewhere", "cancel", json_response(None, 303, location="https://evil.test/"), ProtocolError),
    Case(
        "a conflict though it has not ended",
        "cancel",
        json_response({"code": 7, "detail": [], "meta": []}, 409),
        ConflictError,
    ),
    Case("a refusal in HTML", "cancel", body(PAGE, 500), ServerError),
    Case("a circuit that is none", "circuit", json_response({"circuit": None}), ProtocolError),
    Case("a device without a target", "get_device", json_response({"status": "online"}), ProtocolError),
    Case(
        "a refusal 100 000 deep", "get_job", body('{"meta":' * 100_000 + "{}" + "}" * 100_000, 400), InvalidRequestError
    ),
    Case(
        "a refusal with odd messages",
        "get_job",
        json_response({"code": "validation-error", "meta": {"a": 7}}, 400),
        InvalidRequestError,
    ),
    Case(
        "a refusal larger than the limit",
        "get_job",
        lambda: _status(streamed(b"x" * 2**16, 200 * 16)(), 404),
        NotFoundError,
    ),
    Case("a huge Retry-After", "get_job", json_response({}, 503, retry_after=LONG), ServerError),
    Case("a huge Retry-After", "create_job", json_response({}, 429, retry_after=LONG), RateLimitedError),
    Case("a huge Retry-After", "wait", json_response({}, 503, retry_after=LONG), ServerError),
    Case(
        "a Retry-After of years",
        "wait",
        json_response({}, 429, retry_after="Fri, 31 Dec 9999 23:59:59 GMT"),
        RateLimitedError,
    ),
    Case("a negative Retry-After", "get_job", json_response({}, 503, retry_after="-5"), ServerError),
    Case("a negative Retry-After", "wait", json_response({}, 429, retry_after="-5"), RateLimitedError),
    Case(
        "a link without a valid URL",
        "list_jobs",
        json_response({"data": [job()]}, link='<http://[evil>; rel="next"'),
        ProtocolError,
    ),
    Case(
        "a link that cannot be sent",
        "list_jobs",
        json_response({"data": [job()]}, link='</jobs?\x01>; rel="next"'),
        ProtocolError,
    ),
    Case(
        "a link to itself",
        "list_jobs",
        json_response({"data": [job()]}, link='</jobs?page=1>; rel="next"'),
        ProtocolError,
    ),
    Case("a teapot", "get_job", body("", 418), ResponseError),
    Case("a length of exabytes", "result", body(WHOLE, content_length="9" * 19), ResultTooLargeError),
    Case("a refusal", "token", json_response({"error": "invalid_grant"}, 400), AuthenticationError),
    Case("no token", "token", json_response({"token_type": "Bearer"}), ProtocolError),
    Case("an empty token", "token", json_response({"access_token": ""}), ProtocolError),
    Case("a token with a line break", "token", json_response({"access_token": "a\r\nX-Evil: 1"}), ProtocolError),
    Case("a token that is not ASCII", "token", json_response({"access_token": "tökén"}), ProtocolError),
    Case("a token that is a list", "token", json_response({"access_token": ["a"]}), ProtocolError),
    Case("trouble", "token", body(PAGE, 500), ServerError),
    Case("a huge Retry-After", "token", json_response({}, 503, retry_after=LONG), ServerError),
]
CASES = [
    *[
        Case(name, operation, response, not_understood(operation, name))
        for operation in JSON_OPERATIONS
        for name, response in BODIES.items()
        if operation != "certificate" or name not in JSON_BODIES
    ],
    *[
        Case(name, operation, response, not_understood(operation, name))
        for operation in ("create_job", "get_job")
        for name, response in BAD_JOBS.items()
    ],
    *[Case(name, "result", response, error) for name, (response, error) in BAD_RESULTS.items()],
    *SPECIAL,
]


def _status(response: httpx.Response, status: int) -> httpx.Response:
    response.status_code = status
    return response


async def run(case: Case) -> tuple[SFJobsError | None, FakePlatform]:
    """Run one case. Returns its error and the platform with all requests."""
    operation = OPERATIONS[case.operation]
    platform = FakePlatform()
    platform.add(id=JOB, ends_at=0.0 if case.operation == "result" else float("inf"))

    async def trouble(request: httpx.Request) -> httpx.Response | None:
        return case.response() if (request.method, request.url.path) == (operation.method, operation.path) else None

    platform.trouble = trouble
    async with platform.connection(max_result_bytes=MAX_RESULT) as connection:
        try:
            with anyio.fail_after(600):
                await operation.act(connection)
        except SFJobsError as error:
            return error, platform
    return None, platform


def main(left_out: Sequence[str]) -> None:
    """Print the growth of the process' peak memory over the whole table, in KiB."""

    def play(case: Case) -> None:
        anyio.run(run, case, backend_options={"loop_factory": VirtualLoop})

    play(Case("a valid response", "result", body(WHOLE), SFJobsError))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for case in CASES:
        if case.id not in left_out:
            play(case)
            gc.collect()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


if __name__ == "__main__":
    main(sys.argv[1:])
