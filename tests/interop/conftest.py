"""Programs of one test must not see the symbols of another: sympy caches expressions by the names in them."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _fresh_symbols() -> None:
    from sympy.core.cache import clear_cache

    clear_cache()
