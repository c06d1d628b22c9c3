"""The platform of these tests is scripted and in memory."""

from __future__ import annotations

from tests.support.fixtures import fake_platform

__all__ = ["fake_platform"]
