"""Tests over both transports: our own connections, and those of httpx by the setting ``http``."""

from __future__ import annotations

from typing import Any

import pytest

from sfjobs import Settings

LEFT_GENERATORS = pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <async_generator object (Async|HTTP11|PoolByteStream|Response|BoundAsync)"
)
"""trio warns of generators that are dropped half-way: httpx nests several and closes none of them."""

BOTH = ["auto", pytest.param("httpx", marks=LEFT_GENERATORS)]
"""The values of the setting ``http``, to parametrize with."""


@pytest.fixture(params=BOTH)
def http(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make every ``Settings`` of a test have this ``http``, unless it has one of its own."""
    original = Settings.__init__

    def init(settings: Settings, **values: Any) -> None:
        original(settings, **{"http": request.param, **values})

    monkeypatch.setattr(Settings, "__init__", init)
    return str(request.param)
