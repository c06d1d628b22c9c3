"""The HTML of jobs and devices: well-formed, without script, and with every text of the platform escaped."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, time

import pytest

import sfjobs
from sfjobs import Device, DeviceSpecification, Job, JobSnapshot, JobStatus
from sfjobs._jobs.job import state_of
from tests.support.fake_platform import FakePlatform

HOSTILE = "<script>alert('x')</script><img src=x onerror=\"alert(1)\">&amp;\u202e\x00"
WHEN = datetime(2026, 1, 27, 15, 15, 25, tzinfo=UTC)
ALLOWED_TAGS = {
    "div",
    "span",
    "b",
    "br",
    "code",
    "pre",
    "details",
    "summary",
    "style",
    "svg",
    "g",
    "rect",
    "path",
    "text",
    "title",
}

DEVICE = Device(
    target="X8_01",
    status="online",
    expected_uptime={
        "monday": (time(15, tzinfo=UTC), time(19, 59, 59, tzinfo=UTC)),
        "tuesday": (time(15, tzinfo=UTC), time(19, 59, 59, tzinfo=UTC)),
        "friday": (time(10), time(12)),
    },
    created_at=WHEN,
    specification=DeviceSpecification(
        target="X8_01",
        layout="name X8\nSqueezed({r}) | 0\n",
        modes={"concurrent": 8, "spatial": 2},
        compiler=("Xunitary", "gaussian"),
        gate_parameters={"squeezing_amplitude_0": [0.0, [0.5, 1.0]], "phase": [[0, 6.283185307179586]]},
    ),
    certificate={"laser_wavelength_meters": 1.55e-6},
)
JOB = JobSnapshot(
    id="158977cc-6043-4939-b3cc-af1494ea3391",
    status=JobStatus.FAILED,
    name="demo",
    target="X8_01",
    created_at=WHEN,
    started_at=WHEN,
    finished_at=WHEN,
    running_time=0.5,
    meta={"error_detail": "squeezing is too strong", "queue_position": 3},
)


def display_of(shown: JobSnapshot | Device) -> str:
    if isinstance(shown, Device):
        return shown._repr_html_()
    job = Job(shown.id, shown.status, FakePlatform().connection())
    state_of(job).apply(shown, 0.0)
    return job._repr_html_()


def hostile() -> list[JobSnapshot | Device]:
    return [
        JobSnapshot(id=HOSTILE, status=JobStatus(HOSTILE), name=HOSTILE, target=HOSTILE, meta={HOSTILE: HOSTILE}),
        JobSnapshot(id="1", status=JobStatus.OPEN, meta={"a": {HOSTILE: [HOSTILE]}}),
        Device(
            target=HOSTILE,
            status=HOSTILE,
            expected_uptime={HOSTILE: (time(1), time(2))},
            specification=DeviceSpecification(
                target="x", layout=HOSTILE, modes={HOSTILE: 1}, compiler=(HOSTILE,), gate_parameters={HOSTILE: HOSTILE}
            ),
            certificate={HOSTILE: HOSTILE},
        ),
    ]


SHOWN = [JOB, DEVICE, JobSnapshot(id="1", status=JobStatus.OPEN), Device(target="t"), *hostile()]


def text_of(html: str) -> str:
    return " ".join(
        " ".join(
            text
            for element in ET.fromstring(html).iter()
            if element.tag != "style"
            for text in (element.text, element.tail)
            if text
        ).split()
    )


@pytest.mark.parametrize("shown", SHOWN, ids=lambda shown: type(shown).__name__)
def test_a_display_is_well_formed_and_without_script(shown: JobSnapshot | Device) -> None:
    elements = list(ET.fromstring(display_of(shown)).iter())
    assert {element.tag for element in elements} <= ALLOWED_TAGS
    assert {name for element in elements for name in element.attrib} <= {"class", "style"}


@pytest.mark.parametrize("shown", hostile(), ids=lambda shown: type(shown).__name__)
def test_characters_that_change_the_direction_of_writing_are_replaced(shown: JobSnapshot | Device) -> None:
    assert not re.search("[\u202e\x00]", display_of(shown))


@pytest.mark.parametrize(
    "text",
    ["158977cc-6043-4939-b3cc-af1494ea3391", "failed", "demo", "X8_01", "created 2026-01-27 15:15:25 UTC", "ran for 0.5 s",
     "error detail squeezing is too strong", "queue position 3"],
)  # fmt: skip
def test_a_job_shows(text: str) -> None:
    assert text in text_of(display_of(JOB))


@pytest.mark.parametrize(
    "text",
    ["X8_01", "online", "created 2026-01-27 15:15:25 UTC",
     "Monday, Tuesday: 15:00 to 19:59 UTC", "Friday: 10:00 to 12:00", "modes, concurrent 8",
     "compilers Xunitary, gaussian",
     "squeezing_amplitude_0: 0 or 0.5 to 1", "phase: 0 to 6.2832",
     "Squeezed({r}) | 0", '"laser_wavelength_meters": 1.55e-06'],
)  # fmt: skip
def test_a_device_shows(text: str) -> None:
    assert text in text_of(display_of(DEVICE))


async def test_a_completed_job_shows_its_result() -> None:
    platform = FakePlatform()
    job_record = platform.add(status="complete")
    async with platform.connection() as connection:
        job = sfjobs.Job(job_record.id, "open", connection)
        before = job._repr_html_()
        await job.wait()
    assert "3 shots × 2 modes, uint8" not in before
    assert "3 shots × 2 modes, uint8" in job._repr_html_()


def test_a_text_of_a_megabyte_is_cut_short() -> None:
    long = "x" * 2**20
    job = JobSnapshot(id="1", status=JobStatus.FAILED, name=long, meta={str(n): long for n in range(1000)})
    assert len(display_of(job)) < 30_000


def test_a_layout_of_a_megabyte_is_cut_short() -> None:
    device = Device(target="t", specification=DeviceSpecification(target="t", layout="x | 0\n" * 2**18))
    assert len(display_of(device)) < 30_000


@pytest.mark.parametrize("theme", ["prefers-color-scheme:dark", "data-jp-theme-light=false", "vscode-dark"])
def test_the_colours_follow_the_theme(theme: str) -> None:
    assert theme in display_of(JOB)
