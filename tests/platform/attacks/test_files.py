"""Only the user of the platform reads its files, and it writes nowhere but in its data directory."""

from __future__ import annotations

import logging
import os
import stat
import sys
from pathlib import Path

import pytest

from sfjobs.platform import serving
from sfjobs.platform.private_files import make_private
from tests.platform.server.test_serving import client_of, final, submit

pytestmark = [pytest.mark.real_time, pytest.mark.skipif(sys.platform == "win32", reason="modes mean nothing there")]


def modes(folder: Path) -> dict[str, str]:
    found = {path.relative_to(folder).as_posix(): path.lstat() for path in [folder, *folder.rglob("*")]}
    return {name: stat.filemode(status.st_mode) for name, status in found.items()}


def open_to_others(folder: Path) -> list[str]:
    return [name for name, mode in modes(folder).items() if mode[4:] != "------"]


def test_all_that_a_platform_writes_is_for_its_user_only(tmp_path: Path) -> None:
    before = os.umask(0)  # the worst that a service manager can hand over
    try:
        with serving(data_dir=tmp_path / "data") as platform, client_of(platform) as client:
            assert final(client, submit(client))["status"] == "complete"
            assert open_to_others(tmp_path / "data") == []
    finally:
        os.umask(before)
    assert len(list((tmp_path / "data" / "results").iterdir())) == 1


def test_what_an_earlier_version_left_is_closed_to_others(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serving(data_dir=data) as platform, client_of(platform) as client:
        final(client, submit(client))
    for path in [data, *data.rglob("*")]:
        path.chmod(0o777 if path.is_dir() else 0o664)
    with serving(data_dir=data):
        assert open_to_others(data) == []


def test_a_link_is_not_followed_and_a_foreign_file_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    outside = tmp_path / "outside"
    outside.write_text("x")
    outside.chmod(0o644)
    data = tmp_path / "data"
    data.mkdir(0o700)
    (data / "link").symlink_to(outside)
    (data / "foreign").write_text("x")
    (data / "foreign").chmod(0o644)

    def refuse(path: Path, _: int) -> None:
        raise PermissionError(1, "Operation not permitted", str(path))

    monkeypatch.setattr(Path, "chmod", refuse)
    with caplog.at_level(logging.WARNING):
        make_private(data)
    assert stat.S_IMODE(outside.stat().st_mode) == 0o644
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "foreign" in caplog.text
