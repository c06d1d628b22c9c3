"""`run`, `ping` and `serve` against a platform that runs programs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from sfjobs import Connection, Result
from sfjobs.cli.application import run
from sfjobs.platform.server.serving import Platform
from tests.support.commands import PROGRAM, read_until, start, stop
from tests.support.paths import ROOT
from tests.support.processes import Child

pytestmark = pytest.mark.real_time


def status_of(platform: Platform, job_id: str) -> str:
    async def ask() -> str:
        async with Connection(platform.url, api_key=platform.api_key) as connection:
            return (await connection.get_job(job_id)).status.value

    return anyio.run(ask)


# --- ping ------------------------------------------------------------------------------------------------------------


def test_ping_prints_the_url_and_the_source_of_the_key(configured, capsys):
    assert run(["ping"]) == 0
    out = capsys.readouterr().out
    assert configured.url in out
    assert "environment variable SFJOBS_API_KEY" in out


def test_a_wrong_key_exits_with_4_and_is_not_shown(configured, capsys, monkeypatch):
    monkeypatch.setenv("SFJOBS_API_KEY", "hunter2")
    assert run(["ping"]) == 4
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 2
    assert "hunter2" not in err


def test_an_unreachable_platform_exits_with_5(capsys, monkeypatch):
    monkeypatch.setenv("SFJOBS_RETRIES", "1")
    monkeypatch.setenv("SFJOBS_API_KEY", "key")
    assert run(["--url", "http://127.0.0.1:9", "ping"]) == 5
    assert "sfjobs serve" in capsys.readouterr().err


# --- run -------------------------------------------------------------------------------------------------------------


def test_a_run_shows_what_was_measured(configured, capsys):
    assert run(["run", "demo.xbb"]) == 0
    out = capsys.readouterr().out
    assert "20 shots of 2 modes from simulon_gaussian" in out
    assert "|00⟩" in out
    assert "Photons in a shot" in out


def test_progress_goes_to_stderr_in_plain_lines(configured, capsys):
    run(["run", "demo.xbb"])
    err = capsys.readouterr().err
    assert "Submitting to simulon_gaussian" in err
    assert ": complete after" in err
    assert "\x1b" not in err


def test_options_override_the_script(configured, capsys):
    assert run(["run", "demo.xbb", "--shots", "7", "--name", "other", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["shots"], answer["name"]) == (7, "other")


def test_json_is_one_object_on_stdout_and_nothing_else(configured, capsys):
    assert run(["run", "demo.xbb", "--json"]) == 0
    out = capsys.readouterr().out
    answer = json.loads(out)
    assert out.count("\n") == 1
    assert (answer["status"], answer["target"], answer["shots"]) == ("complete", "simulon_gaussian", 20)
    assert answer["result"]["kind"] == "photon-numbers"
    assert status_of(configured, answer["id"]) == "complete"


@pytest.mark.parametrize("suffix", ["npz", "npy"])
def test_the_samples_are_written_to_a_file(configured, home, suffix):
    assert run(["run", "demo.xbb", "--output", f"out.{suffix}"]) == 0
    assert Result.load(home / f"out.{suffix}").samples.shape == (20, 2)


def test_the_chart_is_drawn(configured, home):
    assert run(["run", "demo.xbb", "--plot", "out.png"]) == 0
    assert (home / "out.png").read_bytes().startswith(b"\x89PNG")


def test_a_file_that_cannot_be_written_is_named(configured, home, capsys):
    (home / "out.npz").mkdir()
    assert run(["run", "demo.xbb", "--output", "out.npz"]) == 1
    assert "cannot be written to out.npz" in capsys.readouterr().err


def test_the_program_may_come_from_standard_input(configured):
    with start("run", "-", "--json", stdin=subprocess.PIPE) as process:
        out, _ = process.communicate(PROGRAM)
    assert json.loads(out)["shots"] == 20


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (PROGRAM.replace("[0, 1]\n", "[0, 1\n", 1), "line 5"),
        (PROGRAM.replace("simulon_gaussian", "X99"), "There is no target 'X99'"),
        (PROGRAM.replace("S2gate", "Kgate"), "Kgate"),
    ],
)
def test_a_program_that_the_platform_refuses_exits_with_7_and_says_why(configured, home, capsys, program, words):
    (home / "bad.xbb").write_text(program)
    assert run(["run", "bad.xbb"]) == 7
    err = capsys.readouterr().err
    assert words in err


def test_a_failed_job_exits_with_2_and_gives_the_reason(configured, capsys):
    assert run(["run", "demo.xbb", "--target", "always_fails", "--json"]) == 2
    captured = capsys.readouterr()
    assert json.loads(captured.out)["status"] == "failed"
    assert "always-fails" in captured.err


def test_a_timeout_exits_with_3_and_leaves_the_job_alone(configured, capsys):
    assert run(["run", "demo.xbb", "--target", "never", "--timeout", "0.2", "--json"]) == 3
    answer = json.loads(capsys.readouterr().out)
    assert status_of(configured, answer["id"]) == "queued"


def test_without_any_setting_a_platform_is_started_for_the_run(capsys):
    assert run(["run", "demo.xbb", "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err.splitlines()[0] == "No platform is configured: starting one on this machine for this run."
    assert json.loads(captured.out)["status"] == "complete"


def test_a_key_without_a_url_starts_nothing(capsys, monkeypatch):
    monkeypatch.setenv("SFJOBS_API_KEY", "key")
    assert run(["run", "demo.xbb"]) == 1
    assert "url is missing" in capsys.readouterr().err


# --- Ctrl-C ----------------------------------------------------------------------------------------------------------


def interrupt_at(process: Child, *texts: str) -> list[str]:
    """Send SIGINT at the first line of stderr with each of ``texts``; return all lines of stderr."""
    assert process.stderr is not None
    lines, left = [], list(texts)
    for line in process.stderr:
        lines.append(line)
        if left and left[0] in line:
            left.pop(0)
            process.send_signal(signal.SIGINT)
    return lines


def test_ctrl_c_leaves_the_job_running_and_prints_the_commands_to_return_to_it(configured):
    with start("run", "demo.xbb", "--target", "never", "--json") as process:
        lines = interrupt_at(process, ": queued")
        assert process.stdout is not None
        answer = json.loads(process.stdout.read())
    assert process.returncode == 130
    assert any(f"Job {answer['id']} goes on" in line for line in lines)
    assert any(f"sfjobs wait {answer['id']}" in line for line in lines)
    assert any(f"sfjobs result {answer['id']}" in line for line in lines)
    assert status_of(configured, answer["id"]) == "queued"


def test_a_second_ctrl_c_cancels_the_job(configured):
    with start("run", "demo.xbb", "--target", "never", "--json") as process:
        lines = interrupt_at(process, ": queued", "Come back")
        assert process.stdout is not None
        answer = json.loads(process.stdout.read())
    assert process.returncode == 130
    assert lines[-1] == "Cancelling: the job is cancelled.\n"
    assert status_of(configured, answer["id"]) == "cancelled"


@pytest.fixture
def interrupted_run(home, monkeypatch):
    """The lines of a run with an embedded platform that gets SIGINT until it ends, and the folder of its temporary files."""
    (home / "long.xbb").write_text(PROGRAM.replace("shots=20", "shots=3000000"))
    (home / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(home / "temporary"))
    with start("run", "long.xbb") as process:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if ": queued" in line or "To keep jobs alive" in line:
                process.send_signal(signal.SIGINT)
            if "To keep jobs alive" in line:
                break
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.01)
        lines += process.stderr
    assert process.returncode == 130
    return lines, home / "temporary"


def test_ctrl_c_reports_that_the_job_ends_with_the_embedded_platform(interrupted_run):
    lines, _ = interrupted_run
    assert lines[-2].endswith("ends with its platform.\n")
    assert lines[-1].startswith("  To keep jobs alive, start `sfjobs serve`")


def test_ctrl_c_leaves_no_files_of_the_embedded_platform(interrupted_run):
    _, folder = interrupted_run
    assert not list(folder.iterdir())


# --- serve -----------------------------------------------------------------------------------------------------------


def test_serve_prints_its_address_as_one_json_object_once_it_responds(monkeypatch):
    with start("serve", "--json", "--data-dir", "data") as process:
        assert process.stdout is not None
        place = json.loads(process.stdout.readline())
        assert Path(place["api_key_file"]).read_text().strip()
        monkeypatch.setenv("SFJOBS_URL", place["url"])
        monkeypatch.setenv("SFJOBS_API_KEY_FILE", place["api_key_file"])
        assert run(["ping"]) == 0
        stop(process)


def test_serve_prints_the_settings_of_each_client():
    with start("serve", "--data-dir", "data") as process:
        text = "".join(read_until(process, "Ctrl-C"))
        stop(process)
    for name in (
        "SFJOBS_URL",
        "SFJOBS_API_KEY_FILE",
        "XANADU_CLOUD_HOST",
        "XANADU_CLOUD_REFRESH_TOKEN",
        "SF_API_HOSTNAME",
    ):
        assert f"export {name}=" in text


def test_the_printed_settings_connect_sfjobs_to_the_platform():
    with start("serve", "--data-dir", "a folder") as process:
        exports = [line for line in read_until(process, "Ctrl-C") if line.startswith("  export SFJOBS_")]
        script = "".join([*exports, f"exec '{sys.executable}' -m sfjobs ping"])
        done = subprocess.run(
            ["/bin/sh", "-c", script], env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=60, check=False
        )
        assert done.returncode == 0
        stop(process)


def test_a_port_in_use_is_two_lines_and_exit_code_1(platform, capsys):
    assert run(["serve", "--port", str(platform.port), "--data-dir", "data"]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_serve_without_the_extra_says_how_to_get_it(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "sfjobs.platform.server.serving", None)
    assert run(["serve"]) == 1
    assert "pip install 'sfjobs[platform]'" in capsys.readouterr().err


# --- parameters ------------------------------------------------------------------------------------------------------

TEMPLATE = (
    "name t\nversion 1.0\ntarget simulon_gaussian (shots=5)\n\nSgate({r}) | 0\nRgate({phi}) | 0\nMeasureFock | 0\n"
)


@pytest.mark.parametrize("command", ["run", "submit"])
def test_the_parameters_of_a_script_get_numbers(configured, home, command):
    (home / "template.xbb").write_text(TEMPLATE)
    assert run([command, str(home / "template.xbb"), "--param", "r=0.1", "--param", "phi=1e-3"]) == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "free parameters r, phi"),
        (["--param", "r=1"], "free parameter phi"),
        (["--param", "r=1", "--param", "phi=2", "--param", "s=3"], "free parameter s"),
        (["--param", "r=x"], "r=x has no number"),
        (["--param", "r"], "r has no number"),
        (["--param", "r=1", "--param", "r=2"], "gives r twice"),
        (["--param", "r=nan", "--param", "phi=2"], "r must be finite"),
    ],
)
def test_parameters_that_do_not_fit_exit_with_1_and_are_named(configured, home, capsys, options, words):
    (home / "template.xbb").write_text(TEMPLATE)
    assert run(["submit", str(home / "template.xbb"), *options]) == 1
    err = capsys.readouterr().err
    assert words in err
    assert "--param" in err


# --- targets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["gaussian", "fock"])
def test_a_script_for_a_local_backend_gets_the_option_to_give(configured, home, capsys, name):
    (home / "old.xbb").write_text(f"name a\nversion 1.0\ntarget {name} (shots=5)\n\nVac | 0\nMeasureFock() | 0\n")
    assert run(["submit", str(home / "old.xbb")]) == 1
    assert "--target simulon_gaussian" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["gaussian", "fock"])
def test_a_local_backend_as_a_device_gets_the_device_to_give(configured, capsys, name):
    assert run(["device", name]) == 1
    assert f"{name} is a local backend" in capsys.readouterr().err


def test_a_short_name_is_a_target(configured, home):
    (home / "old.xbb").write_text("name a\nversion 1.0\ntarget gaussian (shots=5)\n\nVac | 0\nMeasureFock() | 0\n")
    assert run(["submit", str(home / "old.xbb"), "--target", "simulon"]) == 0
    assert run(["device", "X8"]) == 0
    assert run(["device", "gaussian"]) == 1
