"""
What can go wrong, as a tree:

    SFJobsError
      ConfigurationError
      JournalError
      RequestFailedError
        TransportError
          RequestTimeoutError          (also TimeoutError)
        ProtocolError
        SubmissionUnknownError
        ResponseError
          InvalidRequestError          400, 422
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
    ConnectionClosedError              (a RuntimeError: a mistake in the calling program)

Every one can be pickled, shows no secret, and says by ``retryable`` whether the same call may succeed later.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from .models import JobStatus, JSONValue


def _rebuild(cls: type[BaseException], state: dict[str, object]) -> BaseException:
    error = cls.__new__(cls)
    error.args = (state.get("message", ""),)
    error.__dict__.update(state)
    return error


class SFJobsError(Exception):
    """Anything sfjobs raises about the world outside the calling program."""

    retryable: ClassVar[bool] = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), dict(self.__dict__))


class ConfigurationError(SFJobsError):
    """A setting is missing, malformed or contradicts another; the message names it and where it came from."""


class JournalError(SFJobsError):
    """The journal of submissions cannot be used, so that nothing was submitted; the message says what to do."""


class RequestFailedError(SFJobsError):
    """
    A request got no usable answer, after ``attempts`` tries. ``sent`` is False when the platform surely got nothing of it,
    as when the access token for it could not be had.
    """

    sent: bool = True

    def __init__(self, message: str, *, method: str = "", url: str = "", attempts: int = 1) -> None:
        super().__init__(message)
        self.method = method
        self.url = url
        self.attempts = attempts


class TransportError(RequestFailedError):
    """No answer came: the platform could not be reached or the connection broke."""

    retryable = True

    def __init__(self, message: str, *, method: str = "", url: str = "", attempts: int = 1, sent: bool = True) -> None:
        super().__init__(message, method=method, url=url, attempts=attempts)
        self.sent = sent


class RequestTimeoutError(TransportError, TimeoutError):
    """The platform was silent for too long."""


class ProtocolError(RequestFailedError):
    """An answer came that is not in the platform's language, such as a proxy's HTML page."""


class SubmissionUnknownError(RequestFailedError):
    """
    The connection broke while submitting, or the answer is none: the platform may or may not have the job, under this
    ``idempotency_key`` and ``name``. ``Connection.recover`` finds out.
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
    The platform said no. ``code``, ``detail`` and ``meta`` are its own words, empty when it gave none; ``retry_after`` is
    its hint in seconds, None without one.
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
    """400 or 422: the platform does not accept this request, such as a program that does not parse."""


class AuthenticationError(ResponseError):
    """401: the API key or access token is missing, wrong or revoked."""


class PermissionDeniedError(ResponseError):
    """403: the account may not do this."""


class NotFoundError(ResponseError):
    """404: no such job, result or device for this account."""


class ConflictError(ResponseError):
    """409: the request contradicts the present state, such as a program that does not suit the device."""


class RateLimitedError(ResponseError):
    """429: too many requests; ``retry_after`` says how long to leave the platform alone."""

    retryable = True

    @property
    def is_quota(self) -> bool:
        """Whether there are too many unfinished jobs, and not too many requests a second."""
        return "quota" in self.code


class ServerError(ResponseError):
    """5xx: the platform, or a proxy before it, is in trouble."""

    retryable = True


class JobError(SFJobsError):
    """Something about one job; ``status`` and ``meta`` are what was last known of it."""

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
    """The job ran and failed; ``meta`` holds the platform's reason."""


class CancelledJobError(JobError):
    """The job was cancelled, here or elsewhere."""


class InvalidJobOperationError(JobError):
    """The operation does not suit the job's status, such as cancelling a job that has ended."""


class WaitTimeoutError(JobError, TimeoutError):
    """The caller's patience ended before the jobs did. The jobs go on; ``done`` and ``pending`` are their ids."""

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
    """Something about the result of one job."""

    def __init__(self, message: str, *, job_id: str = "", url: str = "") -> None:
        super().__init__(message)
        self.job_id = job_id
        self.url = url


class ResultUnavailableError(ResultError, AttributeError):
    """There is no result yet, or there never will be; the message names the job's present status."""


class ResultCorruptError(ResultError):
    """The result's bytes are not a whole, well-formed array of a plain type."""


class ResultTooLargeError(ResultError):
    """The result is larger than ``max_result_bytes`` allows; nothing was allocated for it."""


class ConnectionClosedError(RuntimeError):
    """The connection is closed, or belongs to another event loop or process."""
