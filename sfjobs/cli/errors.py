"""
How a command fails: its exit code, and two lines on stderr, what happened and what to do next. Commands raise, ``explain``
chooses, ``application`` prints.
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
    """The exit codes of all commands, for scripts."""

    OK = 0
    USAGE = 1
    """The command line, a setting or a file on this machine is wrong; nothing was sent."""
    JOB = 2
    """The job failed or was cancelled."""
    TIMEOUT = 3
    """``--timeout`` ended before the job."""
    AUTHENTICATION = 4
    PLATFORM = 5
    """The network or the platform failed, or sent an invalid response."""
    NOT_FOUND = 6
    """There is no such job, device, result, group or key."""
    REFUSED = 7
    """The platform refused the program or the request; the same command will fail again."""
    NOT_READY = 8
    """The job has no result yet, or the group is not over."""
    TOO_LATE = 9
    """The job has ended: it can no longer be cancelled."""
    FOLLOW_UP = 10
    """A command of ``--then`` failed."""
    HANGUP = 129
    """SIGHUP, as when a terminal is closed: 128 + its number, as in shells. So are the next three."""
    INTERRUPTED = 130
    """SIGINT: Ctrl-C."""
    CLOSED_PIPE = 141
    """SIGPIPE: the program that reads standard output has ended."""
    TERMINATED = 143
    """SIGTERM."""


@dataclass(frozen=True, slots=True)
class Failure:
    """The two lines and the exit code."""

    what: str
    remedy: str
    code: ExitCode

    def as_json(self) -> dict[str, object]:
        """Return the failure for programs, each text on one line."""
        return {
            "message": printable(self.what),
            "remedy": printable(self.remedy),
            "kind": self.code.name.lower().replace("_", "-"),
            "exit_code": int(self.code),
        }


class CommandError(Exception):
    """An error that the command line finds itself."""

    def __init__(self, what: str, remedy: str, code: ExitCode = ExitCode.USAGE) -> None:
        super().__init__(what)
        self.failure = Failure(what, remedy, code)


# The first class that matches counts: special ones stand before general ones.
_REMEDIES: tuple[tuple[type[errors.SFJobsError], ExitCode, str], ...] = (
    (errors.ConfigurationError, ExitCode.USAGE, "Correct it and try again; `sfjobs --help` lists the options."),
    (errors.JournalError, ExitCode.USAGE, "Set SFJOBS_JOURNAL to the path of a file that can be written, or to off."),
    (errors.FailedJobError, ExitCode.JOB, "Correct the program, or ask the platform's owner if it is not the cause."),
    (errors.CancelledJobError, ExitCode.JOB, "Submit it again if that was a mistake."),
    (errors.WaitTimeoutError, ExitCode.TIMEOUT, "Give --timeout a larger number, or leave it out to wait to the end."),
    (errors.JobError, ExitCode.TOO_LATE, "Check its status: `sfjobs show ID`."),
    (errors.AuthenticationError, ExitCode.AUTHENTICATION, "Run `sfjobs login`, or set SFJOBS_API_KEY to a valid key."),
    (errors.PermissionDeniedError, ExitCode.AUTHENTICATION, "Ask the platform's owner, or use another account's key."),
    (errors.InvalidRequestError, ExitCode.REFUSED, "Correct the program or the options; no job was created."),
    (errors.ConflictError, ExitCode.REFUSED, "Correct the program, or choose another target with --target."),
    (errors.NotFoundError, ExitCode.NOT_FOUND, "Check the id or target, and the platform with `sfjobs config show`."),
    (errors.RateLimitedError, ExitCode.PLATFORM, "Wait a while, then try again."),
    (errors.ResponseError, ExitCode.PLATFORM, "Try again later; if it persists, ask the platform's owner."),
    (errors.SubmissionUnknownError, ExitCode.PLATFORM, "Run `sfjobs recover` before you submit it again."),
    (errors.ProtocolError, ExitCode.PLATFORM, "Check that the url is a platform's, not a proxy's or a web page's."),
    (errors.RequestFailedError, ExitCode.PLATFORM, "Check url and network, or start a platform: `sfjobs serve`."),
    (errors.ResultTooLargeError, ExitCode.PLATFORM, "Set SFJOBS_MAX_RESULT_BYTES higher if there is memory for it."),
    (errors.ResultUnavailableError, ExitCode.NOT_READY, "Check its status: `sfjobs show ID`."),
    (errors.ResultError, ExitCode.PLATFORM, "Fetch it again; if it persists, ask the platform's owner."),
    (errors.SFJobsError, ExitCode.PLATFORM, "Try again later."),
)
_REMEDIES_OF_STATUS = {
    **dict.fromkeys((405, 406, 410, 411, 414, 415, 431), "Check the url and the options, or ask the platform's owner."),
    413: "Send a smaller program, or ask the platform's owner for a larger limit; no job was created.",
}
_EXPLAINED = (errors.InvalidRequestError, errors.PermissionDeniedError, errors.NotFoundError, errors.ConflictError)
"""By the platform, in a message for the user."""


def explain(error: errors.SFJobsError | CommandError) -> Failure:
    """Return the two lines and the exit code for ``error``. The second line of its message, if it has one, is the remedy."""
    if isinstance(error, CommandError):
        return error.failure
    code, remedy = next((code, remedy) for kind, code, remedy in _REMEDIES if isinstance(error, kind))
    if isinstance(error, errors.ResponseError):
        remedy = _REMEDIES_OF_STATUS.get(error.status_code, remedy)
    what, _, own_remedy = str(error).partition("\n")
    if isinstance(error, _EXPLAINED) and error.detail:
        what = _refusal(error)
    return Failure(what, own_remedy or remedy, code)


def _refusal(error: errors.ResponseError) -> str:
    """Return the platform's message with its details, which name the target or the fields that it does not accept."""
    more = [
        f"{key}: {', '.join(new)}"
        for key, value in error.meta.items()
        if (new := [text for text in _texts(value) if text not in error.detail])
    ]
    detail = f"{error.detail} ({'; '.join(more)})" if more else error.detail
    return f"The platform refused this ({error.status_code} {error.code}): {detail}"


def _texts(value: JSONValue) -> list[str]:
    """Return the messages about a field, which may be nested in lists and objects."""
    if isinstance(value, Mapping):
        return [text for part in value.values() for text in _texts(part)]
    if isinstance(value, list):
        return [text for part in value for text in _texts(part)]
    return [str(value)]


def printable(text: str) -> str:
    """Return ``text`` on one line without control characters: texts of a platform must not steer the terminal."""
    return visible(" ".join(text.split()))


def visible(text: str) -> str:
    """Return ``text`` with its control characters as hexadecimal numbers."""
    return "".join(character if character.isprintable() else f"\\x{ord(character):02x}" for character in text)
