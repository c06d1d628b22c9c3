"""
How a command ends: its exit code, and for every failure two lines on stderr, what happened and what to do. Commands raise;
``application`` asks ``explain`` and prints.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from .. import errors

if TYPE_CHECKING:
    from ..models import JSONValue


class ExitCode(IntEnum):
    """What a script can tell from the exit code alone."""

    OK = 0
    USAGE = 1
    """The command line, a setting or the program is not right; the same call will fail again."""
    JOB = 2
    """The job failed or was cancelled."""
    TIMEOUT = 3
    """The caller's patience ended before the job did."""
    AUTHENTICATION = 4
    PLATFORM = 5
    """The network or the platform is in trouble, or answered with nonsense."""
    INTERRUPTED = 130
    """Ctrl-C, as shells count it: 128 + SIGINT."""


@dataclass(frozen=True, slots=True)
class Failure:
    """The two lines and the code."""

    what: str
    remedy: str
    code: ExitCode


class CommandError(Exception):
    """Something that the command line finds wrong by itself."""

    def __init__(self, what: str, remedy: str, code: ExitCode = ExitCode.USAGE) -> None:
        super().__init__(what)
        self.failure = Failure(what, remedy, code)


# The first class that fits counts, so the special ones stand before the general.
_REMEDIES: tuple[tuple[type[errors.SFJobsError], ExitCode, str], ...] = (
    (errors.ConfigurationError, ExitCode.USAGE, "Mend that and try again; `sfjobs --help` names the options."),
    (errors.JournalError, ExitCode.USAGE, "Set SFJOBS_JOURNAL to the path of a file that can be written, or to off."),
    (
        errors.FailedJobError,
        ExitCode.JOB,
        "Mend the program if the reason is in it; otherwise ask the platform's owner.",
    ),
    (errors.CancelledJobError, ExitCode.JOB, "Submit it again if that was a mistake."),
    (errors.WaitTimeoutError, ExitCode.TIMEOUT, "Give --timeout a larger number, or leave it out to wait to the end."),
    (errors.JobError, ExitCode.USAGE, "See where it stands: `sfjobs show ID`."),
    (
        errors.AuthenticationError,
        ExitCode.AUTHENTICATION,
        "Log in again: `sfjobs login`; or set SFJOBS_API_KEY to a key that this platform knows.",
    ),
    (
        errors.PermissionDeniedError,
        ExitCode.AUTHENTICATION,
        "Ask the platform's owner, or use a key of another account.",
    ),
    (errors.InvalidRequestError, ExitCode.USAGE, "Mend the program or the options; the platform did not take the job."),
    (errors.ConflictError, ExitCode.USAGE, "Mend the program, or choose a target that it suits with --target."),
    (
        errors.NotFoundError,
        ExitCode.USAGE,
        "Check the id or the target, and which platform the settings point at: `sfjobs config show`.",
    ),
    (errors.RateLimitedError, ExitCode.PLATFORM, "Wait a while, then try again."),
    (errors.ResponseError, ExitCode.PLATFORM, "Try again later; if it stays, tell the platform's owner."),
    (
        errors.SubmissionUnknownError,
        ExitCode.PLATFORM,
        "See whether the platform has the job before you submit it again: `sfjobs recover`.",
    ),
    (
        errors.ProtocolError,
        ExitCode.PLATFORM,
        "Check that the url is that of a platform, not of a proxy or a web page.",
    ),
    (
        errors.RequestFailedError,
        ExitCode.PLATFORM,
        "Check the url and the network, or start a platform: `sfjobs serve`.",
    ),
    (errors.ResultTooLargeError, ExitCode.PLATFORM, "Set SFJOBS_MAX_RESULT_BYTES higher if there is memory for it."),
    (errors.ResultError, ExitCode.PLATFORM, "Fetch it again; if it stays, tell the platform's owner."),
    (errors.SFJobsError, ExitCode.PLATFORM, "Try again later."),
)
_EXPLAINED_BY_THE_PLATFORM = (
    errors.InvalidRequestError,
    errors.PermissionDeniedError,
    errors.NotFoundError,
    errors.ConflictError,
)


def explain(error: errors.SFJobsError | CommandError) -> Failure:
    """The two lines for ``error``. A message of two lines is its own remedy, as those of ``Settings`` are."""
    if isinstance(error, CommandError):
        return error.failure
    code, remedy = next((code, remedy) for kind, code, remedy in _REMEDIES if isinstance(error, kind))
    what, _, own = str(error).partition("\n")
    if isinstance(error, _EXPLAINED_BY_THE_PLATFORM) and error.detail:
        what = _refusal(error)
    return Failure(what, own or remedy, code)


def _refusal(error: errors.ResponseError) -> str:
    """The platform's own words, with what it says in detail: that is where a refused program or target is explained."""
    more = [
        f"{key}: {', '.join(unsaid)}"
        for key, value in error.meta.items()
        if (unsaid := [text for text in _texts(value) if text not in error.detail])
    ]
    detail = f"{error.detail} ({'; '.join(more)})" if more else error.detail
    return f"The platform refused this ({error.status_code} {error.code}): {detail}"


def _texts(value: JSONValue) -> list[str]:
    """The single messages of a field, which may stand in a list, or in lists by index."""
    if isinstance(value, Mapping):
        return [text for part in value.values() for text in _texts(part)]
    if isinstance(value, list):
        return [text for part in value for text in _texts(part)]
    return [str(value)]


def printable(text: str) -> str:
    """
    ``text`` on one line and without control characters: words of a platform must not steer the terminal that shows them.
    """
    return visible(" ".join(text.split()))


def visible(text: str) -> str:
    """``text`` with every character that is not printable written as its number."""
    return "".join(character if character.isprintable() else f"\\x{ord(character):02x}" for character in text)
