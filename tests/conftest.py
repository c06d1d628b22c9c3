"""
Every async test runs on asyncio and on trio, in virtual time. A test that needs sockets, threads or processes asks for real
time with ``@pytest.mark.real_time`` (or ``pytestmark`` for a module).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
import trio.testing

from sfjobs.platform import Platform, serving
from sfjobs.testing.loops import VirtualLoop

# Nobody's own journal hears of tests, those in other processes among them; tests of the journal say where theirs is.
os.environ["SFJOBS_JOURNAL"] = "off"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    chosen = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    if "anyio_backend" in metafunc.fixturenames and not any("anyio_backend" in names for names in chosen):
        only_asyncio = metafunc.definition.get_closest_marker("asyncio_only") is not None
        metafunc.parametrize("anyio_backend", ["asyncio"] if only_asyncio else ["asyncio", "trio"], indirect=True)
    ways = metafunc.definition.get_closest_marker("submits")
    if ways is not None and "platform" in metafunc.fixturenames:
        metafunc.parametrize("platform", ways.args, indirect=True)


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    real_time = request.node.get_closest_marker("real_time") is not None
    if request.param == "trio":
        return "trio", {} if real_time else {"clock": trio.testing.MockClock(autojump_threshold=0)}
    return "asyncio", {} if real_time else {"loop_factory": VirtualLoop}


@pytest.fixture(autouse=True, scope="session")
def _children_react_to_sigint() -> Iterator[None]:
    """
    Children inherit it when this process ignores SIGINT, as in ``nohup nox -s tests &``, and tests of Ctrl-C would wait for ever.
    They do not inherit a handler: with one that does nothing, this process still ignores Ctrl-C and its children do not.
    """
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda *_: None)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True, scope="session")
def _cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What commands keep is not kept in the cache of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    """The embedded platform on a free port, with its test targets. Folders that test logic in memory have another."""
    with serving(test_targets=True) as platform:
        yield platform


@pytest.fixture
def no_slow_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that a lane has room for goes out at once, as it does after a connection's first hundred requests."""
    monkeypatch.setattr("sfjobs._http.rate_model.INITIAL_WIDTH", 64)
