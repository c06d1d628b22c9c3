"""The fixtures of pytest and the patterns of the guide, where only sfjobs with its core requirements and pytest are installed."""

from __future__ import annotations

import inspect
import re
import textwrap
from pathlib import Path

import pytest

from sfjobs.testing import Fault
from tests.support.paths import ROOT
from tests.testing.fresh_environment import FreshEnvironment

GUIDE = (ROOT / "examples" / "guides" / "testing-your-code.md").read_text(encoding="utf-8")
PATTERNS = re.findall(r"^```python\n# (test_\w+\.py)\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
pytestmark = pytest.mark.real_time


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> FreshEnvironment:
    return FreshEnvironment(tmp_path_factory.mktemp("fresh"))


def write(folder: Path, code: str) -> Path:
    (folder / "test_it.py").write_text(textwrap.dedent(code), encoding="utf-8")
    return folder


def test_nothing_else_is_installed_there(fresh: FreshEnvironment, tmp_path: Path) -> None:
    assert {"httpx", "numpy", "anyio", "pytest"} <= fresh.packages
    for name in ("trio", "starlette", "uvicorn", "typer", "hypothesis", "pytest_timeout"):
        done = fresh.run("-c", f"import {name}", cwd=tmp_path)
        assert f"No module named '{name}'" in done.stderr


def test_the_guide_has_three_patterns() -> None:
    assert len(PATTERNS) == 3


@pytest.mark.parametrize(("name", "code"), PATTERNS, ids=[name for name, _ in PATTERNS])
def test_a_pattern_runs_as_written(name: str, code: str, fresh: FreshEnvironment, tmp_path: Path) -> None:
    (tmp_path / name).write_text(code, encoding="utf-8")
    printed = fresh.pytest(tmp_path, "-W", "error")
    assert f"{code.count('def test_')} passed" in printed


def test_the_table_of_the_guide_has_every_fault() -> None:
    documented = set(re.findall(r"^\| `Fault\.(\w+)\(", GUIDE, re.MULTILINE))
    made = {name for name, value in inspect.getmembers_static(Fault) if isinstance(value, classmethod)}
    assert documented == made


def test_the_plugin_loads_nothing_until_a_fixture_is_used(fresh: FreshEnvironment, tmp_path: Path) -> None:
    write(tmp_path, """
        import sys

        HEAVY = {"numpy", "httpx", "h11", "anyio", "starlette", "sfjobs.platform", "sfjobs.testing.fake_platform"}

        def test_at_the_start(request):
            assert request.config.pluginmanager.hasplugin("sfjobs")
            assert not HEAVY & sys.modules.keys()

        def test_with_a_fixture(sfjobs_connection):
            assert "anyio" in sys.modules
            assert "numpy" not in sys.modules
    """)  # fmt: skip
    assert "2 passed" in fresh.pytest(tmp_path, "-p", "no:anyio")


def test_the_environment_of_the_user_stays_away(fresh: FreshEnvironment, tmp_path: Path) -> None:
    config = fresh.home / ".config" / "sfjobs" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('[default]\nurl = "http://user.example"\napi_key = "key-of-the-user"\n', encoding="utf-8")
    config.chmod(0o600)
    write(tmp_path, """
        import os
        from pathlib import Path

        import pytest
        import sfjobs

        def test_settings_journal_and_cache(sfjobs_platform, tmp_path):
            settings = sfjobs.Settings.load()
            assert settings.url == sfjobs_platform.url
            assert settings.api_key.reveal() == sfjobs_platform.api_key
            assert not [name for name, value in os.environ.items() if "of-the-user" in value]
            assert Path(sfjobs.config.config_path()).is_relative_to(tmp_path)
            with sfjobs.sync.Connection() as connection:
                connection.create_job("simulon_gaussian", "Vac | 0\\nMeasureFock() | 0\\n", shots=1)
            assert [path.name for path in (tmp_path / "sfjobs").iterdir() if path.suffix == ".db"] == ["journal.db"]
            assert Path.home().is_relative_to(tmp_path)

        def test_the_environment_alone(sfjobs_environment):
            with pytest.raises(sfjobs.ConfigurationError, match="No platform is configured"):
                sfjobs.Settings.load()

        def test_afterwards_it_is_as_before():
            assert os.environ["SFJOBS_API_KEY"] == "env-of-the-user"
            assert os.environ["XANADU_CLOUD_REFRESH_TOKEN"] == "xcc-of-the-user"
            assert not Path("sfjobs").exists()
    """)  # fmt: skip
    users = {
        "SFJOBS_API_KEY": "env-of-the-user",
        "SFJOBS_URL": "http://env-of-the-user.example",
        "SFJOBS_PROFILE": "of-the-user",
        "XANADU_CLOUD_REFRESH_TOKEN": "xcc-of-the-user",
        "XANADU_CLOUD_HOST": "xcc-of-the-user.example",
        "SF_API_AUTHENTICATION_TOKEN": "sf-of-the-user",
        "HTTP_PROXY": "http://proxy-of-the-user.example:3128",
        "http_proxy": "http://proxy-of-the-user.example:3128",
    }
    assert "3 passed" in fresh.pytest(tmp_path, **users)
    assert [path for path in fresh.home.rglob("*") if path.is_file()] == [config]


def test_each_test_has_a_platform_of_its_own_which_child_processes_reach(
    fresh: FreshEnvironment, tmp_path: Path
) -> None:
    write(tmp_path, """
        import subprocess
        import sys

        import pytest

        SUBMIT = "import sfjobs; sfjobs.sync.Connection().create_job('X8_01', 'Vac | 0\\\\nMeasureFock() | 0\\\\n', shots=1)"

        @pytest.mark.parametrize("number", [1, 2])
        def test_a_child_process(sfjobs_platform, number):
            subprocess.run([sys.executable, "-c", SUBMIT], check=True, timeout=60)
            assert [job.target for job in sfjobs_platform.jobs] == ["X8_01"]
    """)  # fmt: skip
    assert "2 passed" in fresh.pytest(tmp_path)


def test_an_async_test_has_a_connection_of_its_own_loop(fresh: FreshEnvironment, tmp_path: Path) -> None:
    write(tmp_path, """
        import pytest

        pytestmark = pytest.mark.anyio

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        async def test_it(sfjobs_async_connection, sfjobs_platform):
            job = await sfjobs_async_connection.create_job("X8_01", "Vac | 0\\nMeasureFock() | 0\\n", shots=5)
            assert (await job).samples.shape == (5, 1)
            assert sfjobs_platform.job(job.id).status == "complete"
    """)  # fmt: skip
    assert "1 passed" in fresh.pytest(tmp_path, "-W", "error")


def test_what_needs_a_package_says_which(fresh: FreshEnvironment, tmp_path: Path) -> None:
    embedded = fresh.run("-c", "from sfjobs.testing import EmbeddedPlatform; EmbeddedPlatform()", cwd=tmp_path)
    assert "pip install 'sfjobs[platform]', or use FakePlatform" in embedded.stderr
    trio = fresh.run("-c", "from sfjobs.testing import virtual_time; virtual_time('trio')", cwd=tmp_path)
    assert "pip install trio" in trio.stderr
