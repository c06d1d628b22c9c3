"""Every file in examples/ runs as its readers run it: as a process of its own, in an empty folder, without any settings."""

from __future__ import annotations

import json
import math
import re
import signal
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

import sfjobs
from sfjobs.platform import Platform, serving
from tests.support.environment import clean_environment
from tests.support.paths import ROOT
from tests.support.processes import Child

EXAMPLES = ROOT / "examples"
NOT_CONFIGURED = "No platform is configured: starting one on this machine"
SECONDS = 100

pytestmark = pytest.mark.real_time


def run(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """``python arguments`` in ``folder``, with nothing but warnings that are errors; must end well."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=folder,
        env=clean_environment(folder, **more),
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height of a PNG file that holds more than a blank page."""
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert len(content) > 15_000
    width, height = struct.unpack(">II", content[16:24])
    return width, height


def settings_of(platform: Platform) -> Mapping[str, str]:
    return {
        "SFJOBS_URL": platform.url,
        "SFJOBS_API_KEY": platform.api_key,
        "SFJOBS_POLL_INTERVAL_MIN": "0.05",
    }


def test_every_example_has_a_test() -> None:
    tests = ROOT / "tests"
    files = [tests / "docs" / "test_notebook.py", tests / "interop" / "test_fastapi_service.py", Path(__file__)]
    tested = {name for file in files for name in re.findall(r'EXAMPLES / "([\w.]+)"', file.read_text(encoding="utf-8"))}
    present = {path.name for path in EXAMPLES.iterdir() if path.is_file()}
    assert present == tested


def test_x8_gbs_gives_pairs_of_photons_and_a_picture(tmp_path: Path) -> None:
    script = EXAMPLES / "x8_gbs.xbb"
    done = run(tmp_path, "-m", "sfjobs", "run", str(script), "--json", "--plot", "samples.png")
    answer = json.loads(done.stdout)
    distribution = answer["result"]["photon_number_distribution"]
    assert (answer["target"], answer["status"], answer["shots"]) == ("X8_01", "complete", 10_000)
    assert sum(distribution[1::2]) == 0  # photons come in pairs
    # 0.4 photons are more than five standard deviations of the mean of 10 000 shots.
    assert answer["result"]["mean_photon_number"] == pytest.approx(8 * math.sinh(1) ** 2, abs=0.4)
    assert picture_size(tmp_path / "samples.png") > (800, 300)


def test_asyncio_app_answers_every_client(tmp_path: Path) -> None:
    lines = run(tmp_path, str(EXAMPLES / "asyncio_app.py")).stdout.splitlines()
    assert lines[0].startswith(NOT_CONFIGURED)
    for line, squeezing in zip(lines[1:6], (0.2, 0.4, 0.6, 0.8, 1.0), strict=True):
        answer = re.fullmatch(rf"squeezing {squeezing}: 200 mean photon number (\d\.\d+)", line)
        assert answer is not None, line
        assert float(answer[1]) == pytest.approx(math.sinh(squeezing) ** 2, abs=0.15)
    assert re.match(r"squeezing 30.0: 422 .*squeezing", lines[6])
    assert re.match(r"hung up: request cancelled: True, and later: 200 mean photon number 0\.\d+", lines[7])
    assert re.match(r"impatient: 202 still (open|queued), ask again", lines[8])
    assert re.match(r"impatient: cancels: 202 (cancel_pending|cancelled), and later: 410 cancelled", lines[9])
    assert len(lines) == 10


def test_blocking_samples_one_and_several_and_shows_a_refusal(tmp_path: Path) -> None:
    lines = run(tmp_path, str(EXAMPLES / "blocking.py")).stdout.splitlines()
    assert lines[0].startswith(NOT_CONFIGURED)
    one = re.fullmatch(r"one: 2000 shots, (\d\.\d+) photons on average", lines[1])
    assert one is not None
    assert float(one[1]) == pytest.approx(math.sinh(0.8) ** 2, abs=0.25)
    several = dict(
        re.fullmatch(r"several: r = (.*): (\d\.\d+) photons on average", line).groups() for line in lines[5:9]
    )  # type: ignore[union-attr]  # one that does not match fails as well
    for r, mean in several.items():
        expected = math.sinh(float(r)) ** 2
        deviation = math.sqrt(2 * expected * (expected + 1) / 2000)  # of the mean of 2000 shots of a squeezed state
        assert float(mean) == pytest.approx(expected, abs=6 * deviation)
    assert sorted(several) == ["0.2", "0.5", "0.8", "1.1"]
    assert lines[9].startswith("refused: line 5: ")
    assert len(lines) == 10


def test_sweep_measures_the_mean_photon_numbers(tmp_path: Path) -> None:
    output = run(tmp_path, str(EXAMPLES / "sweep.py"), "--circuits", "60", "--plot", "sweep.png").stdout
    rows = [
        tuple(map(float, row)) for row in re.findall(r"^ *(\d\.\d+) +(\d\.\d+) +(\d\.\d+) +\S+$", output, re.MULTILINE)
    ]
    assert len(rows) >= 12
    for r, measured, expected in rows:
        assert expected == pytest.approx(math.sinh(r) ** 2, abs=0.005)
        # Six standard deviations of a mean over 2000 shots, and what four digits lose.
        assert measured == pytest.approx(expected, abs=6 * math.sqrt(expected * (expected + 1) / 1000) + 0.002)
    assert output.startswith(NOT_CONFIGURED)
    assert picture_size(tmp_path / "sweep.png") > (600, 400)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_sweep_prints_the_ids_that_are_left_on_ctrl_c(tmp_path: Path) -> None:
    with serving() as platform:
        environment = clean_environment(tmp_path, **settings_of(platform))
        command = [sys.executable, str(EXAMPLES / "sweep.py"), "--circuits", "2000"]
        with Child(command, env=environment, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
            anyio.run(until_jobs_are_there, platform)
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=SECONDS)
        assert process.returncode == 130
        printed = set(re.findall(r"^  (\S+)$", output, re.MULTILINE))
        assert printed == anyio.run(ids_on, platform)
        assert printed


async def until_jobs_are_there(platform: Platform) -> None:
    async with sfjobs.Connection(platform.url, api_key=platform.api_key) as connection:
        while not [job async for job in connection.list_jobs(limit=20)]:
            await anyio.lowlevel.checkpoint()


async def ids_on(platform: Platform) -> set[str]:
    async with sfjobs.Connection(platform.url, api_key=platform.api_key) as connection:
        return {job.id async for job in connection.list_jobs()}


def test_dense_subgraph_beats_uniform_search(tmp_path: Path) -> None:
    output = run(tmp_path, str(EXAMPLES / "dense_subgraph.py"), "--picture", "graph.png").stdout
    number = r"(\d\.\d\d)"
    found = {
        name: tuple(map(float, rest))
        for name, *rest in re.findall(
            rf"(patterns|uniform): mean density {number}, .* best {number}; grown to .* of density {number}", output
        )
    }
    mean, best, grown = found["patterns"]
    uniform_mean, uniform_best, _ = found["uniform"]
    assert mean > uniform_mean + 0.1
    assert best >= uniform_best
    assert grown >= 0.9
    assert picture_size(tmp_path / "graph.png") > (1000, 400)


def test_an_example_uses_the_platform_that_is_configured(tmp_path: Path) -> None:
    with serving() as platform:
        done = run(tmp_path, str(EXAMPLES / "sweep.py"), "--circuits", "3", **settings_of(platform))
        assert NOT_CONFIGURED not in done.stdout
        assert len(anyio.run(ids_on, platform)) == 3
