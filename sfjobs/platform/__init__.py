"""
The embedded platform: it speaks the Xanadu Cloud protocol over HTTP and really runs the programs it is sent.

    with sfjobs.platform.serving() as platform:
        print(platform.url, platform.api_key)

A job that was accepted (201) is on the disk and survives a kill of the platform or the machine. What waited runs after the next
start; what ran runs again, and its ``meta`` then says ``attempts`` and ``rerun_reason``. A job ends as failed when it has taken
three workers with it (``error-code`` ``worker-lost``), or ran in five crashes of the platform (``platform-lost``).

API keys are made, listed and revoked by ``sfjobs platform keys``; whose jobs a key sees is its account's. How much a request, an
account and a job may take is said by ``Limits``.

The names below are imported when they are first used, since they need the extra ``platform``; ``program`` and ``simulation``
do not.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .limits import Limits as Limits
    from .server.serving import Platform as Platform
    from .server.serving import run_server as run_server
    from .server.serving import serving as serving
    from .settings import PlatformSettings as PlatformSettings

_HOME_OF = {
    "Limits": "limits",
    "Platform": "server.serving",
    "PlatformSettings": "settings",
    "run_server": "server.serving",
    "serving": "server.serving",
}

__all__ = ["Limits", "Platform", "PlatformSettings", "run_server", "serving"]


class _Package(ModuleType):
    """``serving`` is a function here, and importing the submodule of that name must not put the module in its place."""

    def __setattr__(self, name: str, value: object) -> None:
        if name == "serving" and isinstance(value, ModuleType):
            value = value.serving
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'sfjobs.platform' has no attribute {name!r}")
    value: object = getattr(import_module(f"sfjobs.platform.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value
