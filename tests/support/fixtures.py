"""Fixtures that several folders of tests import into their ``conftest.py``."""

from __future__ import annotations

import pytest

from tests.support.fake_platform import FakePlatform


@pytest.fixture(name="platform")
def fake_platform(request: pytest.FixtureRequest) -> FakePlatform:
    """A scripted platform in memory; the mark ``submits`` says whether it takes batches."""
    takes_batches = getattr(request, "param", "singly") == "in batches"
    return FakePlatform(offers_batches=takes_batches, honours_keys=takes_batches)
