"""
The embedded platform. It speaks the Xanadu Cloud protocol over HTTP and runs the submitted programs.

    with sfjobs.platform.serving() as platform:
        print(platform.url, platform.api_key)

An accepted job (201) is on the disk and survives a kill of the platform or of the machine. After the next start, jobs that were
waiting run, and jobs that were running run again; their ``meta`` then has ``attempts`` and ``rerun_reason``. A job fails after it
has lost three workers (``error-code`` ``worker-lost``) or ran in five crashes of the platform (``platform-lost``).

Map, from the top; a folder imports only from the layers below it.

    server/        sockets, HTTP protocols, signals: ``serving`` and ``run_server``
    runtime.py     opens all parts in order and closes them in the reverse order
    api/           the HTTP interface as one ASGI application
    jobs/          accepts, schedules, cancels and publishes jobs
    store/         where jobs, accounts and keys are kept: one interface, SQLite
    settings.py    options, the data directory and its lock
    execution/     where programs run: one interface, worker processes
    results/       where result files are kept: one interface, a folder
    simulation/    draws the samples
    devices/       the targets and the programs they accept
    blackbird/     the parser of Blackbird
    limits.py  records.py  private_files.py  program.py  errors.py

``sfjobs platform keys`` makes, lists and revokes API keys; a key sees the jobs of its account. ``Limits`` bounds a request, an
account and a job, and ``Retention`` says how long jobs and results are kept.

The names below are imported when they are first used, because they need the extra ``platform``; ``program`` and ``simulation``
do not.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .limits import Limits as Limits
    from .limits import Retention as Retention
    from .server.serving import Platform as Platform
    from .server.serving import run_server as run_server
    from .server.serving import serving as serving
    from .settings import PlatformSettings as PlatformSettings

_MODULE_OF = {
    "Limits": "limits",
    "Platform": "server.serving",
    "PlatformSettings": "settings",
    "Retention": "limits",
    "run_server": "server.serving",
    "serving": "server.serving",
}

__all__ = ["Limits", "Platform", "PlatformSettings", "Retention", "run_server", "serving"]


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'sfjobs.platform' has no attribute {name!r}")
    value: object = getattr(import_module(f"sfjobs.platform.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value
