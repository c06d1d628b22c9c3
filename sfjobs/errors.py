"""
All errors of sfjobs:

    SFJobsError
      ConfigurationError
      JournalError
      RequestFailedError
        TransportError
          RequestTimeoutError          (also TimeoutError)
          TLSError
        ProtocolError
        SubmissionUnknownError
        ResponseError
          InvalidRequestError          400, 413, 422
          AuthenticationError          401
          PermissionDeniedError        403
          NotFoundError                404
          ConflictError                409
          RateLimitedError             429
          ServerError                  5xx
      JobError
        FailedJobError
        CancelledJobError
        InvalidJobOperationError
        WaitTimeoutError               (also TimeoutError)
      ResultError
        ResultUnavailableError         (also AttributeError)
        ResultCorruptError
        ResultTooLargeError
    ConnectionClosedError              (a RuntimeError: an error in the calling program)

Every error can be pickled and contains no secret. ``retryable`` says whether the same call may succeed later.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from .models import JobStatus, JSONValue


# Pickles of earlier versions name this function; it stays where it is.
def _rebuild(cls: type[BaseException], state: dict[str, object]) -> BaseException:
    error = cls.__new__(cls)
    error.args = (state.get("message", ""),)
    error.__dict__.update(state)
    return error


class SFJobsError(Exception):
    """The base of all errors that do not come from a mistake in the calling program; ``message`` is the text."""

    retryable: ClassVar[bool] = False
    """Whether the same call may succeed later without a change."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), dict(self.__dict__))


class ConfigurationError(SFJobsError):
    """A setting is missing, not valid or contradicts another; the message names the setting and its source."""


class JournalError(SFJobsError):
    """The journal of submissions cannot be used, so nothing was submitted; the message says what to do."""


class RequestFailedError(SFJobsError):
    """
    A request to ``url`` failed after ``attempts`` attempts.

    ``sent`` is False if the platform received nothing of it for certain, as when there was no access token for it.
    """

    sent: bool = True

    def __init__(self, message: str, *, method: str = "", url: str = "", attempts: int = 1) -> None:
        super().__init__(message)
        self.method = method
        self.url = url
        self.attempts = attempts


class TransportError(RequestFailedError):
    """No response was received: the platform could not be reached, or the connection broke."""

    retryable = True

    def __init__(self, message: str, *, method: str = "", url: str = "", attempts: int = 1, sent: bool = True) -> None:
        super().__init__(message, method=method, url=url, attempts=attempts)
        self.sent = sent


class RequestTimeoutError(TransportError, TimeoutError):
    """The response, or its next bytes, did not arrive within the timeout."""


class TLSError(TransportError):
    """
    The platform's certificate is not trusted, or there is no TLS at this address; the message names the setting to change, such
    as ``ca_file``. It is not retried.
    """

    retryable = False


class ProtocolError(RequestFailedError):
    """
    The response does not follow the platform's protocol, such as the HTML page of a proxy. ``reason`` says what is wrong with it,
    without the request. ``is_lasting``: it comes again until a setting is changed, as after a redirect.
    """

    reason: str = ""
    is_lasting: bool = False


class SubmissionUnknownError(RequestFailedError):
    """
    A submission failed in a way that leaves open whether the platform has the job.

    ``Connection.recover`` finds out, by the ``idempotency_key`` and the ``name`` of the job.
    """

    def __init__(
        self,
        message: str,
        *,
        method: str = "",
        url: str = "",
        attempts: int = 1,
        idempotency_key: str = "",
        name: str | None = None,
    ) -> None:
        super().__init__(message, method=method, url=url, attempts=attempts)
        self.idempotency_key = idempotency_key
        self.name = name


class ResponseError(RequestFailedError):
    """
    The platform refused the request with an HTTP ``status_code``.

    ``code``, ``detail`` and ``meta`` are from the response, empty if it has none. ``retry_after`` is in seconds, None without
    that header.
    """

    def __init__(
        self,
        message: str,
        *,
        method: str = "",
        url: str = "",
        attempts: int = 1,
        status_code: int = 0,
        code: str = "",
        detail: str = "",
        meta: Mapping[str, JSONValue] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, method=method, url=url, attempts=attempts)
        self.status_code = status_code
        self.code = code
        self.detail = detail
        self.meta: Mapping[str, JSONValue] = meta or {}
        self.retry_after = retry_after


class InvalidRequestError(ResponseError):
    """400, 413 or 422: the request is not valid, such as a program that does not parse or is too large."""


class AuthenticationError(ResponseError):
    """401: the API key or access token is missing, wrong or revoked."""


class PermissionDeniedError(ResponseError):
    """403: the account has no permission for this."""


class NotFoundError(ResponseError):
    """404: this account has no such job, result or device."""


class ConflictError(ResponseError):
    """409: the request conflicts with the current state, such as a program that does not fit the device."""


class RateLimitedError(ResponseError):
    """429: too many requests, or too many unfinished jobs; ``retry_after`` is the time to wait, in seconds."""

    retryable = True

    @property
    def is_quota(self) -> bool:
        """Whether the account has too many unfinished jobs, rather than too many requests a second."""
        return "quota" in self.code


class ServerError(ResponseError):
    """5xx: the platform, or a proxy before it, failed."""

    retryable = True


class JobError(SFJobsError):
    """The base of errors about one job; ``status`` and ``meta`` are the last known ones."""

    def __init__(
        self,
        message: str,
        *,
        job_id: str = "",
        status: JobStatus | None = None,
        meta: Mapping[str, JSONValue] | None = None,
    ) -> None:
        super().__init__(message)
        self.job_id = job_id
        self.status = status
        self.meta: Mapping[str, JSONValue] = meta or {}


class FailedJobError(JobError):
    """The job failed; ``meta`` holds the reason that the platform gave."""


class CancelledJobError(JobError):
    """The job was cancelled, by this program or another."""


class InvalidJobOperationError(JobError):
    """
    The status of the job does not allow the operation, such as cancelling a job that has ended, or the platform does not offer
    it.
    """


class WaitTimeoutError(JobError, TimeoutError):
    """The timeout of a wait expired before the jobs ended; they continue. ``done`` and ``pending`` are their ids."""

    retryable = True

    def __init__(
        self,
        message: str,
        *,
        job_id: str = "",
        status: JobStatus | None = None,
        meta: Mapping[str, JSONValue] | None = None,
        done: tuple[str, ...] = (),
        pending: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message, job_id=job_id, status=status, meta=meta)
        self.done = done
        self.pending = pending


class ResultError(SFJobsError):
    """The result of a job cannot be used; ``url`` is where it came from, empty if unknown."""

    def __init__(self, message: str, *, job_id: str = "", url: str = "") -> None:
        super().__init__(message)
        self.job_id = job_id
        self.url = url


class ResultUnavailableError(ResultError, AttributeError):
    """The job has no result, not yet or never; the message names its current status."""


class ResultCorruptError(ResultError):
    """The bytes of the result are not complete, well-formed arrays of plain types."""


class ResultTooLargeError(ResultError):
    """The result is larger than ``max_result_bytes``; no memory was allocated for it."""


class ConnectionClosedError(RuntimeError):
    """The connection is closed, or belongs to another event loop or process."""
