"""What a worker sends is read or refused, whatever it is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sfjobs.platform.execution.executor import Work
from sfjobs.platform.execution.replies import BrokenReply, Reply, read_reply, reply_line
from sfjobs.platform.records import ResultFile
from tests.platform.runners import BROKEN_ANSWERS

pytestmark = pytest.mark.real_time

WORK = Work(job_id="job", attempt=2, target="simulon_gaussian", circuit="", shots=1, seed=1)
RESULT: dict[str, Any] = {
    "name": "job-2.npz",
    "size": 100,
    "digest": "a",
    "npy_offset": 40,
    "npy_size": 50,
    "npy_digest": "b",
}


@pytest.mark.parametrize("kind", BROKEN_ANSWERS)
def test_broken_answers_are_refused(kind: str) -> None:
    with pytest.raises(BrokenReply):
        read_reply(BROKEN_ANSWERS[kind], WORK)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "../../etc/passwd"},
        {"name": "job-1.npz"},
        {"size": -1},
        {"size": 1 << 63},
        {"size": True},
        {"size": "100"},
        {"size": 10},
        {"digest": None},
        {"more": 1},
    ],
)
def test_a_result_that_is_not_of_this_attempt_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BrokenReply):
        read_reply(reply_line("done", result={**RESULT, **change}, meta={}), WORK)


@pytest.mark.parametrize("meta", ['{"loss": NaN}', '{"loss": [Infinity]}', '{"a": {"b": -1e999}}', "[]", "null", "1"])
def test_meta_that_is_no_object_or_has_numbers_without_json_is_refused(meta: str) -> None:
    line = f'{{"event": "done", "result": {json.dumps(RESULT)}, "meta": {meta}}}\n'.encode()
    with pytest.raises(BrokenReply):
        read_reply(line, WORK)


def test_good_replies_are_read() -> None:
    assert read_reply(reply_line("ready")) == Reply(event="ready")
    done = reply_line("done", result=RESULT, meta={"sampler": "x"})
    assert read_reply(done, WORK) == Reply(event="done", result=ResultFile(**RESULT), meta={"sampler": "x"})
    trouble = reply_line("trouble", detail="full", bytes_needed=8)
    assert read_reply(trouble, WORK) == Reply(event="trouble", detail="full", bytes_needed=8)


def test_a_result_without_a_job_is_refused() -> None:
    with pytest.raises(BrokenReply, match="wrong time"):
        read_reply(reply_line("done", result=RESULT, meta={}))
