"""
The table of published programs on the embedded platform, by the client of this package: all are submitted together, and each
gives samples of its exact state, or is refused at submission.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from thewalrus import quantum
from thewalrus.random import random_covariance

import sfjobs
from sfjobs import sync
from sfjobs.platform import serving
from tests.interop.published import (
    conventions,  # noqa: F401 - enters its rows
    corners,  # noqa: F401
    devices,  # noqa: F401
    feed_forward,  # noqa: F401
    gbs,  # noqa: F401
    more_feed_forward,  # noqa: F401
    objects,  # noqa: F401
    printed,  # noqa: F401
    refusals,  # noqa: F401
    scripts,  # noqa: F401
    submission,  # noqa: F401
    time_domain,  # noqa: F401
)
from tests.interop.published.comparison import check_samples
from tests.interop.published.exact import Measured, measured, vacuum_probability
from tests.interop.published.rows import ROWS, Row

pytestmark = [
    pytest.mark.interop,
    pytest.mark.real_time,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore"),  # what packages of 2022 say on those of today
]


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest) -> Iterator[dict[str, Any]]:
    """The job of each row that is to be tested, or the error of its submission."""
    calls = [getattr(item, "callspec", None) for item in request.session.items]
    rows = {call.params["row"].name: call.params["row"] for call in calls if call and "row" in call.params}
    with serving(workers=2) as platform:
        settings = sfjobs.Settings(url=platform.url, api_key=platform.api_key, poll_interval_min=0.05)
        with sync.Connection(settings=settings) as connection:
            submissions = [
                sfjobs.Submission(row.program(), target=row.target, shots=row.shots, params=row.params)
                for row in rows.values()
            ]
            items = list(connection.create_jobs("simulon_gaussian", submissions, window=len(submissions)))
            outcomes = dict(zip(rows, items, strict=True))
            yield {
                name: outcome.error if isinstance(outcome, sfjobs.Refusal) else outcome
                for name, outcome in outcomes.items()
            }


def test_the_table_is_long_enough() -> None:
    assert len(ROWS) >= 45


def test_the_vacuum_probability_is_that_of_thewalrus() -> None:
    means, cov = np.array([0.4, -0.3, 0.2, 0.7]), random_covariance(2)
    vacuum = quantum.fidelity(means, cov, np.zeros(4), np.eye(4), hbar=2)
    assert vacuum_probability(Measured(means, cov, ()), [0, 1]) == pytest.approx(vacuum, rel=1e-6)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_a_published_program_is_right_or_refused(row: Row, outcomes: dict[str, Any]) -> None:
    outcome = outcomes[row.name]
    if row.refused is not None:
        assert isinstance(outcome, Exception), "it was accepted"
        with pytest.raises((sfjobs.ResponseError, ValueError), match=row.refused):
            raise outcome
        return
    if isinstance(outcome, Exception):
        raise outcome
    status = outcome.wait(timeout=120)
    assert status == "complete", outcome.meta
    samples = outcome.result.samples
    assert len(samples) == row.shots
    if row.check is not None:
        row.check(samples)
    else:
        check_samples(measured((row.meaning or row.make)()), samples)
