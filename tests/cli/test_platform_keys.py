"""``sfjobs platform keys`` beside a running platform, and the warnings of ``sfjobs serve`` about public addresses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sfjobs.cli.application import run
from sfjobs.platform.server.serving import serving
from tests.support.commands import read_until, start, stop
from tests.support.processes import Child
from tests.support.raw_server import CERTIFICATE

pytestmark = pytest.mark.real_time


def keys(*words: str) -> int:
    return run(["platform", "keys", *words, "--data-dir", "data"])


def made(capsys, *words: str) -> str:
    assert keys("add", *words) == 0
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 1
    return out.strip()


def listed(capsys) -> list[dict[str, str | None]]:
    assert keys("list", "--json") == 0
    found: list[dict[str, str | None]] = json.loads(capsys.readouterr().out)["keys"]
    return found


def may_ping(monkeypatch, url: str, api_key: str) -> int:
    monkeypatch.setenv("SFJOBS_URL", url)
    monkeypatch.setenv("SFJOBS_API_KEY", api_key)
    return run(["ping"])


def test_a_key_is_valid_from_when_it_is_made_until_it_is_revoked(capsys, monkeypatch):
    with serving(data_dir="data") as platform:
        api_key = made(capsys, "alice")
        before = may_ping(monkeypatch, platform.url, api_key)
        assert keys("revoke", "alice") == 0
        after = may_ping(monkeypatch, platform.url, api_key)
    assert (before, after) == (0, 4)


def test_only_the_key_is_printed_on_stdout(capsys):
    assert keys("add", "alice", "--account", "team") == 0
    captured = capsys.readouterr()
    assert captured.out.strip() not in captured.err
    assert "'alice' of the account 'team'" in captured.err


def test_json_has_the_key_with_its_name_and_account(capsys):
    assert keys("add", "alice", "--account", "team", "--json") == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert (document["name"], document["account"], len(document["api_key"]), captured.err) == ("alice", "team", 43, "")


def test_the_list_shows_everything_but_the_keys(capsys):
    api_keys = [made(capsys, "alice", "--account", "team"), made(capsys, "bob")]
    keys("revoke", "bob")
    capsys.readouterr()
    assert keys("list") == 0
    text = capsys.readouterr().out
    assert all(word in text for word in ("alice", "team", "bob", "created", "last used", "revoked"))
    assert not any(api_key in text for api_key in api_keys)


def test_the_list_as_json(capsys, monkeypatch):
    with serving(data_dir="data") as platform:
        api_key = made(capsys, "alice")
        unused = listed(capsys)
        may_ping(monkeypatch, platform.url, api_key)
        capsys.readouterr()
        used = listed(capsys)
    assert [(key["name"], key["account"]) for key in used] == [("local", "local"), ("alice", "alice")]
    assert (unused[1]["last_used_at"], used[1]["last_used_at"] is not None) == (None, True)
    assert all(key["created_at"].endswith("+00:00") and key["revoked_at"] is None for key in used)


def test_errors_are_two_lines_and_have_the_exit_code_of_their_kind(capsys):
    assert keys("list") == 1
    assert "there is no platform in data" in capsys.readouterr().err
    made(capsys, "alice")
    wrong = [(["add", "alice"], 1), (["add", "two words"], 1), (["add", "local"], 1), (["revoke", "bob"], 6)]
    for words, code in wrong:
        assert keys(*words) == code
        assert len(capsys.readouterr().err.splitlines()) == 2


def test_serving_others_without_a_key_for_them_is_refused_with_the_command_that_makes_one(capsys):
    assert run(["serve", "--host", "0.0.0.0", "--data-dir", "data"]) == 1
    what, remedy = capsys.readouterr().err.splitlines()
    assert "other machines" in what
    assert "sfjobs platform keys add NAME --data-dir data" in remedy


def served(*words: str) -> tuple[dict[str, str], Child]:
    process = start("serve", "--json", "--data-dir", "data", *words)
    [line] = read_until(process, "{")
    return json.loads(line), process


TLS = ("--tls-cert", str(CERTIFICATE), "--tls-key", str(CERTIFICATE))


@pytest.mark.parametrize(
    ("words", "warned"), [(["--host", "0.0.0.0"], True), (["--host", "0.0.0.0", *TLS], False), ([], False)]
)
def test_plain_http_for_others_is_warned_about(capsys, words, warned):
    made(capsys, "alice")
    _, process = served(*words)
    with process:
        assert ("Warning: without TLS" in stop(process)) is warned


def test_with_a_certificate_it_speaks_https(monkeypatch):
    place, process = served("--host", "localhost", *TLS)  # whose certificate it is
    with process:
        assert place["url"].startswith("https://localhost:")
        api_key = Path(place["api_key_file"]).read_text().strip()
        monkeypatch.setenv("SFJOBS_CA_FILE", str(CERTIFICATE))
        assert may_ping(monkeypatch, place["url"], api_key) == 0
        stop(process)


def test_a_certificate_without_its_key_is_refused(capsys):
    assert run(["serve", "--tls-cert", str(CERTIFICATE), "--data-dir", "data"]) == 1
    assert "only one was given" in capsys.readouterr().err


def test_a_stop_reports_the_running_jobs(capsys, monkeypatch):
    place, process = served("--grace", "0.01")
    api_key = Path(place["api_key_file"]).read_text().strip()
    monkeypatch.setenv("SFJOBS_URL", place["url"])
    monkeypatch.setenv("SFJOBS_API_KEY", api_key)
    Path("long.xbb").write_text(LONG)
    with process:
        assert run(["submit", "long.xbb"]) == 0
        job_id = capsys.readouterr().out.strip()
        while True:
            run(["show", job_id, "--json"])
            job = json.loads(capsys.readouterr().out)
            if job["started_at"]:
                break
        assert job["status"] == "queued"
        assert "Stopping: 1 job may go on for 0.01 s" in stop(process)


# Twelve modes of squeezed light, which take minutes: three quarters of the work that a simulation may be. With more than that
# the job would fail as soon as it is started.
LONG = "name long\nversion 1.0\ntarget simulon_gaussian (shots=100)\n\n" + "".join(
    [f"Sgate(1.2) | {mode}\n" for mode in range(12)]
    + [f"BSgate(0.7, 0.3) | [{mode}, {mode + 1}]\n" for mode in range(11)]
    + ["MeasureFock() | [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]\n"]
)


@pytest.mark.parametrize("flags", [(), ("--at-once",)])
def test_a_new_signing_secret_revokes_no_key(capsys, monkeypatch, flags):
    with serving(data_dir="data") as platform:
        api_key = made(capsys, "alice")
        assert run(["platform", "rotate-secret", *flags, "--data-dir", "data", "--json"]) == 0
        document = json.loads(capsys.readouterr().out)
        assert (len(document["kid"]), document["at_once"]) == (16, bool(flags))
        assert run(["platform", "rotate-secret", *flags, "--data-dir", "data"]) == 0
        assert "have ended" in (text := capsys.readouterr().out) or not flags, text
        assert may_ping(monkeypatch, platform.url, api_key) == 0
