"""``sfjobs serve``: a platform on this machine, for yourself or a team."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..context import stderr, stdout
from ..errors import CommandError, ExitCode
from ..output.json import write_json

if TYPE_CHECKING:
    from ...platform.server.serving import Platform


def serve(
    *,
    host: Annotated[str, typer.Option(metavar="HOST", help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="PORT", min=0, max=65535, help="Port; 0 takes a free one.")] = 0,
    data_dir: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where jobs, results and the key are kept; by default in your user data."),
    ] = None,
    workers: Annotated[int, typer.Option(metavar="N", min=1, help="Jobs that run at the same time.")] = 1,
    test_targets: Annotated[
        bool, typer.Option("--test-targets", help="Add the targets `never` and `always_fails`, to test with.")
    ] = False,
    quota: Annotated[int, typer.Option(metavar="N", min=1, help="Unfinished jobs that one account may have.")] = 10_000,
    max_shots: Annotated[int, typer.Option(metavar="N", min=1, help="Most shots of a job.")] = 10_000_000,
    max_modes: Annotated[int, typer.Option(metavar="N", min=1, help="Most modes of a job.")] = 216,
    time_limit: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.01, help="A job that runs longer is ended and fails.")
    ] = 3600.0,
    memory_limit: Annotated[
        int, typer.Option(metavar="MIB", min=0, help="A job that needs more memory fails; 0 for no limit.")
    ] = 4096,
    max_body: Annotated[int, typer.Option(metavar="MIB", min=1, help="Largest request that is read.")] = 8,
    grace: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="How long running jobs may go on after Ctrl-C or SIGTERM.")
    ] = 10.0,
    tls_cert: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Certificate, with its chain, as PEM: speak https.")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The certificate's private key, without a password, as PEM.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the address and the key's file as one JSON object.")
    ] = False,
) -> int:
    """Run a platform until Ctrl-C. Jobs outlive it: they go on when it is started again."""
    try:
        from ...platform.limits import Limits
        from ...platform.server.serving import run_server
        from ...platform.settings import PlatformSettings, default_data_dir
    except ModuleNotFoundError as error:
        raise CommandError(
            f"The platform needs {error.name}, which is not installed.", "pip install 'sfjobs[platform]'"
        ) from error
    settings = PlatformSettings(
        data_dir=data_dir or default_data_dir(),
        workers=workers,
        test_targets=test_targets,
        limits=Limits(
            quota=quota,
            shots=max_shots,
            modes=max_modes,
            time=time_limit,
            memory=memory_limit << 20,
            body=max_body << 20,
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
        on_stopping=partial(_say_stopping, grace),
    )
    return ExitCode.OK


def _say_stopping(grace: float, running: int) -> None:
    from ..output.tables import counted

    if running:
        message = f"Stopping: {counted(running, 'job')} may go on for {grace:g} s, then waits for the next start."
        stderr().print(f"{message} Ctrl-C again ends that at once.", soft_wrap=True)


def _warn(platform: Platform) -> None:
    if platform.is_public and platform.url.startswith("http:"):
        message = (
            "Warning: without TLS, keys and results can be read on their way. Give --tls-cert and --tls-key, or let a"
        )
        stderr().print(f"{message} proxy with TLS stand before it.", style="yellow", soft_wrap=True)


def _announce_json(platform: Platform) -> None:
    _warn(platform)
    write_json({"url": platform.url, "api_key_file": str(_key_file(platform))})


def _announce(platform: Platform) -> None:
    import shlex
    from urllib.parse import urlsplit

    console = stdout()
    key_file = _key_file(platform)
    # Not platform.host, which may be a wildcard that nobody can connect to.
    address = urlsplit(platform.url)
    use_tls = address.scheme == "https"
    key = f"$(cat {shlex.quote(str(key_file))})"
    console.print(f"The platform answers at {platform.url}", style="bold", soft_wrap=True)
    console.print(f"Its API key is in {key_file}", soft_wrap=True)
    for title, variables in (
        ("sfjobs", {"SFJOBS_URL": platform.url, "SFJOBS_API_KEY_FILE": shlex.quote(str(key_file))}),
        (
            "xanadu-cloud-client, and Strawberry Fields from 0.20",
            {
                "XANADU_CLOUD_HOST": address.hostname,
                "XANADU_CLOUD_PORT": address.port,
                "XANADU_CLOUD_TLS": use_tls,
                "XANADU_CLOUD_REFRESH_TOKEN": key,
            },
        ),
        (
            "Strawberry Fields up to 0.19",
            {
                "SF_API_HOSTNAME": address.hostname,
                "SF_API_PORT": address.port,
                "SF_API_USE_SSL": use_tls,
                "SF_API_AUTHENTICATION_TOKEN": key,
            },
        ),
    ):
        console.print(f"\n{title}:", soft_wrap=True)
        for name, value in variables.items():
            console.print(f"  export {name}={value}", soft_wrap=True)
    console.print("\nCtrl-C stops it; jobs go on when it is started again.", soft_wrap=True)
    console.file.flush()
    _warn(platform)


def _key_file(platform: Platform) -> Path:
    return platform.data_dir / "api_key"
