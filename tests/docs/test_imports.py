"""What importing costs: each name is loaded when it is first used, and with it only what it needs."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import sfjobs
from sfjobs import errors
from tests.docs.public_api import names

HEAVY = (
    "numpy",
    "httpx",
    "httpcore",
    "anyio",
    "starlette",
    "uvicorn",
    "lark",
    "typer",
    "rich",
    "matplotlib",
    "piquasso",
    "dask",
)
pytestmark = pytest.mark.real_time


def loaded_after(code: str) -> set[str]:
    """The heavy packages, and all files of ours, that a fresh interpreter holds after ``code``."""
    script = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    modules = set(json.loads(run.stdout))
    return {name for name in modules if name in HEAVY or name.startswith("sfjobs")}


def heavy_after(code: str) -> set[str]:
    return loaded_after(code) & set(HEAVY)


def test_the_package_alone_loads_nothing() -> None:
    assert loaded_after("import sfjobs") == {"sfjobs", "sfjobs._version"}


def test_listing_the_names_loads_nothing() -> None:
    assert loaded_after("import sfjobs; dir(sfjobs); sfjobs.__all__; sfjobs.__version__") == {
        "sfjobs",
        "sfjobs._version",
    }


@pytest.mark.parametrize("name", ["JobStatus", "Settings", "Secret", "FailedJobError", "JobSnapshot", "Device"])
def test_a_plain_name_loads_nothing_heavy(name: str) -> None:
    assert heavy_after(f"import sfjobs; sfjobs.{name}") == set()


@pytest.mark.parametrize("name", ["Connection", "Job", "RemoteEngine", "wait_all"])
def test_the_client_loads_httpx_and_no_numpy(name: str) -> None:
    with_httpx = {
        "httpx",
        "httpcore",
        "rich",
    }  # httpx has a command of its own, and loads rich for it where there is one
    assert heavy_after(f"import sfjobs; sfjobs.{name}") - with_httpx == {"anyio"}


def test_a_connection_that_is_made_loads_no_numpy() -> None:
    made = "import sfjobs; sfjobs.Connection('http://127.0.0.1:1', api_key='k')"
    assert "numpy" not in heavy_after(made)


def test_a_result_loads_numpy_and_no_plotting() -> None:
    assert heavy_after("import sfjobs; sfjobs.Result") <= {"numpy", "anyio"}


def test_the_wire_and_the_programs_load_nothing_heavy() -> None:
    assert (
        heavy_after(
            "import sfjobs._protocol.wire, sfjobs._submission.programs, sfjobs._http.retry, sfjobs._http.messages, sfjobs.config"
        )
        == set()
    )


def test_nothing_warns_on_import() -> None:
    run = [
        sys.executable,
        "-W",
        "error",
        "-X",
        "dev",
        "-c",
        "import sfjobs; [getattr(sfjobs, n) for n in sfjobs.__all__]",
    ]
    assert subprocess.run(run, capture_output=True, text=True, timeout=60, check=False).stderr == ""


@pytest.mark.parametrize("name", sfjobs.__all__)
def test_a_public_name_exists(name: str) -> None:
    assert getattr(sfjobs, name) is not None


def test_dir_names_all_that_is_public() -> None:
    assert set(sfjobs.__all__) <= set(dir(sfjobs))


def test_a_star_import_brings_exactly_the_public_names() -> None:
    names: dict[str, object] = {}
    exec("from sfjobs import *", names)
    assert names.keys() - {"__builtins__"} == set(sfjobs.__all__)


def test_type_checkers_see_the_public_names() -> None:
    source = (sys.modules["sfjobs"].__file__ or "").removesuffix("c")
    with open(source, encoding="utf-8") as file:  # noqa: PTH123 - the module's own file
        text = file.read()
    seen = {
        line.split(" as ")[1].strip() for line in text.splitlines() if line.startswith("    from .") and " as " in line
    }
    assert "    from .errors import *" in text
    assert seen | set(names(errors)) == set(sfjobs.__all__) - {"__version__"}


def test_an_unknown_name_is_an_attribute_error_with_the_name() -> None:
    with pytest.raises(AttributeError, match="'sfjobs' has no attribute 'Jobs'"):
        sfjobs.Jobs  # noqa: B018 - the mistake that is tested
