"""The environment of a user who has configured nothing, for programs that a test starts."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.paths import ROOT

CONFIGURES = ("SFJOBS_", "XANADU_CLOUD_", "SF_", "XDG_", "PYTHON", "JUPYTER", "IPYTHON", "MPL")


def clean_environment(home: Path, **more: str) -> dict[str, str]:
    """Return this environment without settings of sfjobs, Python and the clients that it reads, with ``home`` as its home."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(CONFIGURES)}
    return {**kept, "HOME": str(home), "LOCALAPPDATA": str(home), "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", **more}
