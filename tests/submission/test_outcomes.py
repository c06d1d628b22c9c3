"""What the journal says of a submission after each reply: a wrong "unsent" would submit a job twice. Generations of a window."""

from __future__ import annotations

import pytest

from sfjobs import ConfigurationError
from sfjobs._journal.rows import Intent, State
from sfjobs._submission.submitter import SubmissionRequest, outcome_of
from sfjobs._submission.window import Window
from sfjobs.errors import ResponseError
from sfjobs.models import JobSnapshot, JobStatus

INTENT = Intent("key", "http://platform", "account", "X8_01")


def responded(status: int) -> ResponseError:
    return ResponseError("no", status_code=status)


@pytest.mark.parametrize(
    ("reply", "state"),
    [
        *[(responded(status), State.REFUSED) for status in (400, 403, 404, 422)],
        *[(responded(status), State.UNSENT) for status in (401, 429, 503)],
        # An intermediary may have given the answer after the platform had the job.
        *[(responded(status), State.OPEN) for status in (408, 425, 500, 502, 504)],
        (ConfigurationError("no key"), State.UNSENT),
        (JobSnapshot(id="a", status=JobStatus.OPEN), State.SUBMITTED),
    ],
    ids=lambda value: str(getattr(value, "status_code", value)),
)
@pytest.mark.parametrize("maybe_delivered", [False, True], ids=["first attempt", "after an unknown one"])
def test_a_submission_is_unsent_only_where_the_platform_cannot_have_it(
    reply: ResponseError | ConfigurationError | JobSnapshot, state: State, maybe_delivered: bool
) -> None:
    outcome = outcome_of(SubmissionRequest(INTENT, in_flight=True, maybe_delivered=maybe_delivered), reply)
    is_certain = state != State.UNSENT or not maybe_delivered
    assert outcome.state == (state if is_certain else State.OPEN)
    assert outcome.job_id == ("a" if state == State.SUBMITTED else None)


def test_each_generation_narrows_the_window_once_however_often() -> None:
    window = Window(64)
    sizes = []
    for generation in range(4):
        assert window.generation == generation
        window.narrow(generation, 0.0, None)
        window.narrow(generation, 0.0, None)  # another answer to a request of the same generation
        sizes.append(window.size)
        window.widen(generation, 1000)  # late answers change nothing
        assert window.size == sizes[-1]
    assert sizes == [32, 16, 8, 4]
