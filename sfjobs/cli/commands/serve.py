"""``sfjobs serve``: a platform on this machine, for one user or a team."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from ..context import JSONOption, finite, stderr, stdout
from ..errors import CommandError
from ..output.json import write_json

if TYPE_CHECKING:
    from ...platform.limits import Retention
    from ...platform.server.serving import Platform

DataDirOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="The platform's jobs, results and keys; by default in your user data."),
]
_TestTargetsOption: TypeAlias = Annotated[
    bool, typer.Option("--test-targets", help="Add the targets `never` and `always_fails`, to test with.")
]
_RunningLimitOption: TypeAlias = Annotated[
    int, typer.Option(metavar="N", min=0, help="Most jobs of an account that run at the same time; 0 for no limit.")
]
_KeepOption: TypeAlias = Annotated[
    str, typer.Option(metavar="TIME", help="Delete it when its job ended so long ago: 30d, 12h, or never.")
]
_StorageOption: TypeAlias = Annotated[
    int, typer.Option(metavar="MIB", min=0, help="Most programs and results of an account; 0 for no limit.")
]
_FreeDiskOption: TypeAlias = Annotated[
    int, typer.Option(metavar="MIB", min=0, help="No job starts while the disk has less free space.")
]
_TimeLimitOption: TypeAlias = Annotated[
    float, typer.Option(metavar="SECONDS", min=0.01, callback=finite, help="A job that runs longer is ended and fails.")
]
_MemoryLimitOption: TypeAlias = Annotated[
    int, typer.Option(metavar="MIB", min=0, help="A job that needs more memory fails; 0 for no limit.")
]
_GraceOption: TypeAlias = Annotated[
    float,
    typer.Option(
        metavar="SECONDS", min=0, callback=finite, help="How long running jobs may go on after Ctrl-C or SIGTERM."
    ),
]
_CertificateOption: TypeAlias = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Certificate, with its chain, as PEM: speak https.")
]
_KeyOption: TypeAlias = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The certificate's private key, without a password, as PEM.")
]


# Long because each option is a parameter.
def serve(
    *,
    host: Annotated[str, typer.Option(metavar="HOST", help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="PORT", min=0, max=65535, help="Port; 0 takes a free one.")] = 0,
    data_dir: DataDirOption = None,
    workers: Annotated[int, typer.Option(metavar="N", min=1, help="Jobs that run at the same time.")] = 1,
    test_targets: _TestTargetsOption = False,
    quota: Annotated[int, typer.Option(metavar="N", min=1, help="Most unfinished jobs of an account.")] = 10_000,
    running_limit: _RunningLimitOption = 0,
    storage: _StorageOption = 0,
    keep_results: _KeepOption = "never",
    keep_jobs: _KeepOption = "never",
    min_free_disk: _FreeDiskOption = 256,
    max_shots: Annotated[int, typer.Option(metavar="N", min=1, help="Most shots of a job.")] = 10_000_000,
    max_modes: Annotated[int, typer.Option(metavar="N", min=1, help="Most modes of a job.")] = 216,
    time_limit: _TimeLimitOption = 3600.0,
    memory_limit: _MemoryLimitOption = 4096,
    max_program: Annotated[int, typer.Option(metavar="MIB", min=1, max=8, help="Largest program that is read.")] = 6,
    max_body: Annotated[int, typer.Option(metavar="MIB", min=1, help="Largest request that is read.")] = 8,
    max_streams: Annotated[int, typer.Option(metavar="N", min=1, help="Most open change feeds of an account.")] = 50,
    max_connections: Annotated[
        int, typer.Option(metavar="N", min=0, help="Most connections; 0 for as many as open files allow.")
    ] = 0,
    body_memory: Annotated[int, typer.Option(metavar="MIB", min=1, help="Memory of all requests being read.")] = 256,
    grace: _GraceOption = 7.0,
    tls_cert: _CertificateOption = None,
    tls_key: _KeyOption = None,
    as_json: JSONOption = False,
) -> None:
    """Run a platform until Ctrl-C. Unfinished jobs go on when it is started again."""
    try:
        from ...platform.limits import Limits
        from ...platform.server.serving import run_server
        from ...platform.settings import PlatformSettings, default_data_dir
    except ModuleNotFoundError as error:
        what = f"The platform needs {error.name}, which is not installed."
        raise CommandError(what, "pip install 'sfjobs[platform]'") from error
    settings = PlatformSettings(
        data_dir=data_dir or default_data_dir(),
        workers=workers,
        test_targets=test_targets,
        retention=_retention(keep_results, keep_jobs, min_free_disk),
        limits=Limits(
            quota=quota,
            running=running_limit,
            storage=storage << 20,
            shots=max_shots,
            modes=max_modes,
            time=time_limit,
            memory=memory_limit << 20,
            circuit=max_program << 20,
            body=max_body << 20,
            bodies=max(body_memory, max_body) << 20,
            streams=max_streams,
            connections=max_connections,
        ),
    )
    run_server(
        settings=settings,
        host=host,
        port=port,
        grace=grace,
        tls_certificate=tls_cert,
        tls_key=tls_key,
        on_ready=_announce_json if as_json else _announce,
        on_stopping=partial(_report_stopping, grace),
    )


def _retention(keep_results: str, keep_jobs: str, min_free_disk: int) -> Retention:
    from ...platform.limits import Retention, parse_duration

    results, jobs = parse_duration(keep_results), parse_duration(keep_jobs)
    return Retention(results=results, jobs=jobs, free_disk=min_free_disk << 20)


def _report_stopping(grace: float, running: int) -> None:
    from ..output.tables import counted

    if running:
        message = f"Stopping: {counted(running, 'job')} may go on for {grace:g} s, then waits for the next start."
        typer.echo(f"{message} {_stop_command()} again ends that at once.", err=True)


def _stop_command() -> str:
    """Return Ctrl-C, or the command that sends SIGTERM where Ctrl-C is ignored, as after `sfjobs serve &` in a script."""
    return f"`kill {os.getpid()}`" if signal.getsignal(signal.SIGINT) is signal.SIG_IGN else "Ctrl-C"


def _warn_without_tls(platform: Platform) -> None:
    if platform.is_public and platform.url.startswith("http:"):
        danger = "Warning: without TLS, others on the network can read keys and results."
        remedy = "Give --tls-cert and --tls-key, or put a proxy with TLS before the platform."
        stderr().print(f"{danger} {remedy}", style="yellow", soft_wrap=True)


def _announce_json(platform: Platform) -> None:
    _warn_without_tls(platform)
    write_json({"url": platform.url, "api_key_file": _key_file(platform)})


def _announce(platform: Platform) -> None:
    import shlex
    from urllib.parse import urlsplit

    key_file = shlex.quote(str(_key_file(platform)))
    # Not platform.host, which may be a wildcard that no client can connect to.
    address = urlsplit(platform.url)
    use_tls = address.scheme == "https"
    stdout().print(f"The platform responds at {platform.url}", style="bold", soft_wrap=True)
    typer.echo(
        f"""\
Its API key is in {_key_file(platform)}

sfjobs:
  export SFJOBS_URL={platform.url}
  export SFJOBS_API_KEY_FILE={key_file}

xanadu-cloud-client, and Strawberry Fields from 0.20:
  export XANADU_CLOUD_HOST={address.hostname}
  export XANADU_CLOUD_PORT={address.port}
  export XANADU_CLOUD_TLS={use_tls}
  export XANADU_CLOUD_REFRESH_TOKEN=$(cat {key_file})

Strawberry Fields up to 0.19:
  export SF_API_HOSTNAME={address.hostname}
  export SF_API_PORT={address.port}
  export SF_API_USE_SSL={use_tls}
  export SF_API_AUTHENTICATION_TOKEN=$(cat {key_file})

{_stop_command()} stops it; jobs go on when it is started again."""
    )
    _warn_without_tls(platform)


def _key_file(platform: Platform) -> Path:
    return platform.data_dir / "api_key"
