"""Exit codes and messages of failures, and their control characters."""

from __future__ import annotations

import pytest

from sfjobs import errors
from sfjobs._http.messages import response_error
from sfjobs.cli.errors import CommandError, ExitCode, explain, printable


def subclasses(kind: type) -> set[type]:
    return {kind, *(found for child in kind.__subclasses__() for found in subclasses(child))}


EXIT_CODES = {
    errors.ConfigurationError: 1,
    errors.JournalError: 1,
    errors.FailedJobError: 2,
    errors.CancelledJobError: 2,
    errors.WaitTimeoutError: 3,
    errors.InvalidJobOperationError: 9,
    errors.AuthenticationError: 4,
    errors.PermissionDeniedError: 4,
    errors.InvalidRequestError: 7,
    errors.ConflictError: 7,
    errors.NotFoundError: 6,
    errors.RateLimitedError: 5,
    errors.ServerError: 5,
    errors.TransportError: 5,
    errors.RequestTimeoutError: 5,
    errors.ProtocolError: 5,
    errors.SubmissionUnknownError: 5,
    errors.ResultUnavailableError: 8,
    errors.ResultCorruptError: 5,
    errors.ResultTooLargeError: 5,
}


@pytest.mark.parametrize(("kind", "code"), EXIT_CODES.items(), ids=lambda value: getattr(value, "__name__", str(value)))
def test_each_kind_of_failure_has_its_exit_code(kind, code):
    assert explain(kind("what happened")).code == code


@pytest.mark.parametrize("kind", sorted(subclasses(errors.SFJobsError), key=lambda kind: kind.__name__))
def test_every_error_of_the_sdk_has_a_remedy(kind):
    assert explain(kind("what happened")).remedy


def test_a_message_of_two_lines_is_its_own_remedy():
    failure = explain(errors.ConfigurationError("what happened\nwhat to do"))
    assert (failure.what, failure.remedy) == ("what happened", "what to do")


def test_a_refusal_has_the_message_of_the_platform():
    error = errors.InvalidRequestError(
        "POST http://host/jobs: 400",
        status_code=400,
        code="validation-error",
        detail="Not valid.",
        meta={"target": ["There is no target 'X9'."]},
    )
    assert "Not valid. (target: There is no target 'X9'.)" in explain(error).what


def test_a_message_about_a_field_is_not_repeated():
    said = {"id": {"0": ["Not a valid UUID."], "3": ["Too long."]}, "target": ["There is no target 'X9'."]}
    detail = "id: Not a valid UUID.; id: Too long.; target: There is no target 'X9'."
    error = errors.InvalidRequestError("400", status_code=400, code="validation-error", detail=detail, meta=said)
    assert explain(error).what == f"The platform refused this (400 validation-error): {detail}"


@pytest.mark.parametrize(("status", "advice"), [(413, "smaller program"), (415, "the options"), (405, "the url")])
def test_a_refusal_that_would_come_again_is_not_to_be_tried_again(status, advice):
    failure = explain(response_error("POST", "http://host/jobs", status, ("", "too much", {})))
    assert advice in failure.remedy
    assert "again" not in failure.remedy


def test_a_program_that_is_too_large_is_refused():
    failure = explain(response_error("POST", "http://host/jobs", 413, ("payload-too-large", "8 bytes allowed", {})))
    assert failure.code == 7
    assert failure.what == "The platform refused this (413 payload-too-large): 8 bytes allowed"


def test_an_error_of_the_command_line_keeps_its_message():
    assert explain(CommandError("a", "b", ExitCode.TIMEOUT)) == CommandError("a", "b", ExitCode.TIMEOUT).failure


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain |0⟩", "plain |0⟩"),
        ("two\n  lines", "two lines"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("right-to-left \u202e", "right-to-left \\x202e"),
    ],
)
def test_control_characters_are_escaped(text, shown):
    assert printable(text) == shown
