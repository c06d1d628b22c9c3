"""The environment of workers, in particular where the installation cannot be written."""

from __future__ import annotations

import os
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from sfjobs.platform.execution import environment
from sfjobs.platform.execution.environment import worker_environment


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an installed package that numba compiles."""
    folder = tmp_path / "site-packages"
    spec = ModuleSpec("piquasso", None, origin=str(folder / "__init__.py"))
    monkeypatch.setattr(environment, "find_spec", lambda _: spec)
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    return folder


def test_an_installation_that_cannot_be_written_leaves_the_cache_to_the_data_folder(
    installed: Path, tmp_path: Path
) -> None:
    """numba raised, and each job that needs it failed."""
    assert worker_environment(tmp_path / "cache")["NUMBA_CACHE_DIR"] == str(tmp_path / "cache")


def test_an_installation_that_can_be_written_keeps_its_cache(installed: Path, tmp_path: Path) -> None:
    installed.mkdir()
    assert "NUMBA_CACHE_DIR" not in worker_environment(tmp_path)


def test_a_cache_that_the_operator_has_chosen_stays(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", "chosen")
    assert worker_environment(tmp_path)["NUMBA_CACHE_DIR"] == "chosen"


def test_each_library_has_one_thread_and_imports_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", ["", "/a"])
    variables = worker_environment(tmp_path)
    assert (variables["OMP_NUM_THREADS"], variables["NUMBA_NUM_THREADS"]) == ("1", "1")
    assert variables["PYTHONPATH"] == os.pathsep.join([str(Path.cwd()), "/a"])
