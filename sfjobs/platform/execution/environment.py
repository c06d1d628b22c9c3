"""The environment variables of child processes."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Final

_THREADS: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
_COMPILED_BY_NUMBA: Final = "piquasso"


def worker_environment(numba_cache: Path) -> dict[str, str]:
    """
    Return the environment of a worker: one thread for each numerical library, since several processes share the machine
    (measured 3 times faster), the import path of this process, and a folder for what numba compiles.
    """
    return {**_cache(numba_cache), **child_environment()}


def child_environment() -> dict[str, str]:
    """Return the environment of any child process: one thread for each numerical library, and the import path of this process."""
    paths = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
    return {**os.environ, **dict.fromkeys(_THREADS, "1"), "PYTHONPATH": paths}


def _cache(folder: Path) -> dict[str, str]:
    """
    numba caches compiled functions beside their modules, or else in the user's home, and raises if neither can be written, as in
    a container with a read-only root.
    """
    spec = find_spec(_COMPILED_BY_NUMBA)
    if spec is None or spec.origin is None or os.access(Path(spec.origin).parent, os.W_OK):
        return {}
    return {"NUMBA_CACHE_DIR": str(folder)}
