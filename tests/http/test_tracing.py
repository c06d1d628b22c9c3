"""Spans in programs with OpenTelemetry, tested with its SDK, and none in programs without."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from types import FrameType

import anyio
import httpx
import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import sfjobs
from sfjobs._http import tracing
from tests.support.fake_platform import KEY, FakePlatform, refusal
from tests.support.paths import ROOT

PROGRAM = "Vac | 0\nMeasureFock() | 0\n"


class Spans:
    """The exported spans."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    @property
    def names(self) -> list[str]:
        return [span.name for span in self._exporter.get_finished_spans()]

    def clear(self) -> None:
        self._exporter.clear()

    def __getitem__(self, name: str) -> ReadableSpan:
        (found,) = (span for span in self._exporter.get_finished_spans() if span.name == name)
        return found


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[Spans]:
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)  # the global one can be set only once a process
    yield Spans(exporter)
    provider.shutdown()


def in_hex(span: ReadableSpan) -> tuple[str, str]:
    found = span.get_span_context()
    assert found is not None
    return trace.format_trace_id(found.trace_id), trace.format_span_id(found.span_id)


def submission(platform: FakePlatform) -> httpx.Request:
    return next(request for request in platform.requests if (request.method, request.url.path) == ("POST", "/jobs"))


async def run_a_job(platform: FakePlatform, **settings: object) -> sfjobs.Job:
    async with platform.connection(**settings) as connection:
        job = await connection.create_job("X8_01", PROGRAM, shots=7)
        platform.jobs[job.id].ends_at = anyio.current_time() + 2
        await job.wait()
        return job


# -- with OpenTelemetry --------------------------------------------------------------------------------------------------


async def test_a_job_that_is_submitted_and_waited_for_makes_three_spans(spans: Spans) -> None:
    await run_a_job(FakePlatform())
    assert spans.names == ["sfjobs.submit", "sfjobs.result", "sfjobs.wait"]


async def test_the_span_of_a_submission_has_the_submission_and_its_outcome(spans: Spans) -> None:
    job = await run_a_job(FakePlatform())
    assert spans["sfjobs.submit"].attributes == {
        "sfjobs.target": "X8_01",
        "sfjobs.shots": 7,
        "sfjobs.attempts": 1,
        "sfjobs.job_id": job.id,
        "sfjobs.status": "open",
    }


async def test_the_span_of_a_wait_has_the_final_status(spans: Spans) -> None:
    job = await run_a_job(FakePlatform())
    assert spans["sfjobs.wait"].attributes == {
        "sfjobs.job_id": job.id,
        "sfjobs.target": "X8_01",
        "sfjobs.status": "complete",
    }


async def test_the_span_of_a_result_names_its_job(spans: Spans) -> None:
    job = await run_a_job(FakePlatform())
    assert spans["sfjobs.result"].attributes == {
        "sfjobs.job_id": job.id,
        "sfjobs.target": "X8_01",
        "sfjobs.status": "complete",
        "sfjobs.attempts": 1,
    }


async def test_a_result_that_a_wait_fetches_is_part_of_it(spans: Spans) -> None:
    await run_a_job(FakePlatform())
    parent = spans["sfjobs.result"].parent
    assert parent is not None
    assert (trace.format_trace_id(parent.trace_id), trace.format_span_id(parent.span_id)) == in_hex(
        spans["sfjobs.wait"]
    )


async def test_a_submission_counts_its_attempts(spans: Spans) -> None:
    platform, failures = FakePlatform(), [httpx.ConnectError("no route")] * 2

    async def trouble(request: httpx.Request) -> httpx.Response | None:
        if request.url.path == "/jobs" and failures:
            raise failures.pop()
        return None

    platform.trouble = trouble
    async with platform.connection() as connection:
        await connection.create_job("X8_01", PROGRAM)
    attributes = spans["sfjobs.submit"].attributes
    assert attributes is not None
    assert attributes["sfjobs.attempts"] == 3


async def test_a_submission_carries_its_span_to_the_platform(spans: Spans) -> None:
    platform = FakePlatform()
    await run_a_job(platform)
    trace_id, span_id = in_hex(spans["sfjobs.submit"])
    assert submission(platform).headers["traceparent"].split("-")[:3] == ["00", trace_id, span_id]


async def test_neither_tokens_nor_polls_carry_a_trace(spans: Spans) -> None:
    platform = FakePlatform()
    await run_a_job(platform)
    carrying = {
        request.url.path.rpartition("/")[2] for request in platform.requests if "traceparent" in request.headers
    }
    assert carrying == {"jobs", "result"}
    assert not any("traceparent" in poll.headers for poll in platform.polls)


async def test_baggage_is_not_sent(spans: Spans) -> None:
    platform = FakePlatform()
    token = context.attach(baggage.set_baggage("user", "somebody"))
    try:
        await run_a_job(platform)
    finally:
        context.detach(token)
    assert "somebody" not in str([request.headers for request in platform.requests])


async def test_a_refused_submission_is_an_error_with_the_platforms_message(spans: Spans) -> None:
    platform = FakePlatform()

    async def refusing(request: httpx.Request) -> httpx.Response | None:
        return refusal(400, "bad", f"no {KEY} here") if request.url.path == "/jobs" else None

    platform.trouble = refusing
    async with platform.connection() as connection:
        with pytest.raises(sfjobs.InvalidRequestError):
            await connection.create_job("X8_01", PROGRAM)
    span = spans["sfjobs.submit"]
    assert span.attributes is not None
    assert span.attributes["error.type"] == "InvalidRequestError"
    assert span.status.status_code is trace.StatusCode.ERROR
    assert "bad: no *** here" in str(span.status.description)


async def test_a_wait_that_is_cancelled_is_no_error(spans: Spans) -> None:
    platform = FakePlatform()
    job = platform.add()
    async with platform.connection() as connection:
        with anyio.move_on_after(1):
            await sfjobs.Job(job.id, "open", connection).wait()
    assert spans["sfjobs.wait"].status.status_code is trace.StatusCode.UNSET


async def test_no_span_shows_a_secret(spans: Spans) -> None:
    platform = FakePlatform()
    await run_a_job(platform, access_token="rejected-that-must-never-be-seen")
    shown = "".join(spans[name].to_json() for name in spans.names)
    assert "sfjobs.submit" in shown
    assert "must-never-be-seen" not in shown


async def test_jobs_submitted_together_have_spans_of_their_own(spans: Spans) -> None:
    platform = FakePlatform(latency=0.1)
    async with platform.connection() as connection, anyio.create_task_group() as group:
        for target in ("X8_01", "X12_01"):
            group.start_soon(connection.create_job, target, PROGRAM)
    sent = {
        request.headers["traceparent"]
        for request in platform.requests
        if request.method == "POST" and request.url.path == "/jobs"
    }
    assert len(sent) == 2


async def test_a_batch_is_one_span(spans: Spans) -> None:
    platform = FakePlatform(offers_batches=True)
    async with platform.connection() as connection:
        await connection.create_job("X8_01", PROGRAM)
        spans.clear()
        jobs = [job async for job in connection.create_jobs("X8_01", [PROGRAM, "x" * 3, PROGRAM], shots=7)]
    assert len(jobs) == 3
    assert spans["sfjobs.submit"].attributes == {
        "sfjobs.target": "X8_01",
        "sfjobs.jobs": 3,
        "sfjobs.taken": 3,
        "sfjobs.attempts": 1,
    }
    assert platform.submissions[-1].headers["traceparent"].split("-")[2] == in_hex(spans["sfjobs.submit"])[1]


# -- without it ----------------------------------------------------------------------------------------------------------

RUN_A_JOB = """
import sys
{first}
import anyio
from tests.support.fake_platform import FakePlatform

async def main():
    platform = FakePlatform()
    async with platform.connection() as connection:
        job = await connection.create_job("X8_01", "Vac | 0\\nMeasureFock() | 0\\n")
        platform.jobs[job.id].ends_at = anyio.current_time()
        print(await job.wait(), "traceparent" in str([request.headers for request in platform.requests]))

anyio.run(main)
print(sorted(name for name in sys.modules if name.startswith("opentelemetry") and sys.modules[name] is not None))
"""


@pytest.mark.real_time
@pytest.mark.parametrize(
    "first", ["sys.modules['opentelemetry'] = None", "pass"], ids=["not installed", "installed but not used"]
)
def test_a_program_without_opentelemetry_runs_and_loads_none_of_it(first: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", RUN_A_JOB.format(first=first)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("complete False\n[]\n", "")


@pytest.fixture
def unused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that has not imported OpenTelemetry."""
    for name in [name for name in sys.modules if name.startswith("opentelemetry")]:
        monkeypatch.delitem(sys.modules, name)


def calls_of(work: Callable[[], object]) -> list[str]:
    """The Python functions that are called within ``work``."""
    called: list[str] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            called.append(frame.f_code.co_name)

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return called


@pytest.mark.usefixtures("unused")
def test_an_unrecorded_span_is_four_calls() -> None:
    def work() -> None:
        with tracing.span("submit", requests=True, target="X8_01", shots=7) as span:
            span.note(job_id="1", status="open")

    assert calls_of(work)[1:] == ["span", "__enter__", "note", "__exit__"]


@pytest.mark.usefixtures("unused")
def test_an_unrecorded_attempt_is_three_calls() -> None:
    def work() -> None:
        tracing.note_attempt(1)
        tracing.headers()

    assert calls_of(work)[1:] == ["note_attempt", "note", "headers"]


@pytest.mark.usefixtures("unused")
def test_unrecorded_spans_are_one_object() -> None:
    assert tracing.span("submit") is tracing.span("wait", job_id="1")
