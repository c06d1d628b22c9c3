"""Fixtures: the platform of these tests is scripted and in memory, and ``counter`` counts what it gets."""

from __future__ import annotations

import pytest

from tests.support.counter import Counter
from tests.support.fake_platform import FakePlatform
from tests.support.fixtures import fake_platform

__all__ = ["fake_platform"]


@pytest.fixture
def counter(platform: FakePlatform) -> Counter:
    counter = Counter(platform)
    platform.trouble = counter.handle
    return counter
