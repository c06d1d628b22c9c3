"""Errors and results that 0.1.0 pickled, before its modules moved into folders, load as they were."""

from __future__ import annotations

import base64
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sfjobs.results import Result

from .test_errors import CLASSES, example

OLD = dict(
    line.split() for line in (Path(__file__).parent / "data" / "pickles_of_0_1_0.txt").read_text("ascii").splitlines()
)
RESULTS = {
    "int64": Result([np.arange(12).reshape(4, 3) % 3], job_id="job-1"),
    "uint8_and_bool": Result([np.arange(6, dtype=np.uint8).reshape(2, 3), np.array([[True, False], [False, True]])]),
    "float_and_complex": Result([np.array([[0.5, -np.inf]], np.float32), np.array([[1 + 2j]], np.complex64)]),
    "metadata_only": Result([], {"probability": np.float64(0.25), "modes": np.array([2, 5], np.int32)}, job_id="job-2"),
    "time_domain": Result([np.asfortranarray(np.arange(24).reshape(2, 3, 4))], {"label": np.array(["a", "bc"])}),
    "empty": Result([np.zeros((0, 4), np.int64)], job_id="job-3"),
}


SINCE_THEN = {"TLSError"}


def unpickled(name: str) -> Any:
    return pickle.loads(base64.b64decode(OLD[name]))


def test_every_error_and_result_has_its_pickle() -> None:
    assert OLD.keys() == (CLASSES.keys() - SINCE_THEN) | RESULTS.keys()


@pytest.mark.parametrize("name", sorted(CLASSES.keys() - SINCE_THEN))
def test_an_error_of_0_1_0_loads(name: str) -> None:
    loaded, expected = unpickled(name), example(CLASSES[name])
    assert type(loaded) is type(expected)
    assert (loaded.args, vars(loaded)) == (expected.args, vars(expected))


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_of_0_1_0_loads(name: str) -> None:
    loaded, expected = unpickled(name), RESULTS[name]
    assert type(loaded) is Result
    assert loaded.job_id == expected.job_id
    assert list(loaded.metadata) == list(expected.metadata)
    for old, new in zip(
        [*loaded.outputs, *loaded.metadata.values()], [*expected.outputs, *expected.metadata.values()], strict=True
    ):
        assert (old.dtype, old.shape) == (new.dtype, new.shape)
        assert np.array_equal(old, new)
