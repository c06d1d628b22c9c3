"""A runner whose worker cannot start, as long as there is the flag ``broken``."""

from __future__ import annotations

from tests.platform.runners import flag, meet

if flag("broken").exists():
    raise ImportError("half of an installation")

run = meet
