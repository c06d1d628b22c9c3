"""JSON to models and back: tables of valid and invalid fields. Pure functions."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sfjobs._protocol import wire
from sfjobs._protocol.wire import MalformedRecord, MalformedResponse
from sfjobs.models import Device, JobSnapshot, JobStatus

JOB: dict[str, Any] = {
    "id": "c1b2",
    "name": "demo",
    "status": "queued",
    "target": "X8_01",
    "language": "blackbird:1.0",
    "created_at": "2021-01-27T15:15:25.801308Z",
    "started_at": None,
    "finished_at": None,
    "running_time": None,
    "meta": {},
}
DEEP = json.loads("[" * 200 + "]" * 200)
READERS: dict[str, Callable[[object], object]] = {
    "job_snapshot": wire.job_snapshot,
    "job_records": wire.job_records,
    "circuit": wire.circuit,
    "devices": wire.devices,
    "device": wire.device,
    "specification": lambda response: wire.specification(response, target="X8_01"),
    "access_token": wire.access_token,
}


def test_a_whole_job_is_read() -> None:
    done = {**JOB, "started_at": "2021-01-27T15:15:26Z", "finished_at": "2021-01-27T15:15:27+00:00", "running_time": 1}
    assert wire.job_snapshot(done) == JobSnapshot(
        id="c1b2",
        status=JobStatus.QUEUED,
        name="demo",
        target="X8_01",
        language="blackbird:1.0",
        created_at=datetime(2021, 1, 27, 15, 15, 25, 801308, tzinfo=UTC),
        started_at=datetime(2021, 1, 27, 15, 15, 26, tzinfo=UTC),
        finished_at=datetime(2021, 1, 27, 15, 15, 27, tzinfo=UTC),
        running_time=1.0,
    )


def test_an_id_and_a_status_are_enough_as_in_version_0_2_0() -> None:
    assert wire.job_snapshot({"id": "a", "status": "open"}) == JobSnapshot(id="a", status=JobStatus.OPEN)


def test_unknown_fields_are_ignored() -> None:
    assert wire.job_snapshot({**JOB, "result_url": 7, "priority": DEEP}) == wire.job_snapshot(JOB)


@pytest.mark.parametrize("word", ["open", "queued", "cancel_pending", "cancelled", "complete", "failed"])
def test_a_status_of_the_protocol_is_known(word: str) -> None:
    assert wire.job_snapshot({**JOB, "status": word}).status.is_known


@pytest.mark.parametrize("word", ["paused", "COMPLETE", "complete ", "läuft", "x" * 100])
def test_an_unknown_status_is_kept_and_is_not_final(word: str) -> None:
    status = wire.job_snapshot({**JOB, "status": word}).status
    assert (status.value, status.is_known, status.is_final) == (word, False, False)


@pytest.mark.parametrize("remade", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_a_snapshot_with_an_unknown_status_can_be_copied_and_pickled(remade: Callable[[Any], Any]) -> None:
    snapshot = wire.job_snapshot({**JOB, "status": "paused", "meta": {"a": [1, None]}})
    assert remade(snapshot) == snapshot


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("2021-01-27T15:15:25.801308Z", datetime(2021, 1, 27, 15, 15, 25, 801308, tzinfo=UTC)),
        ("2021-01-27T15:15:25+00:00", datetime(2021, 1, 27, 15, 15, 25, tzinfo=UTC)),
        ("2021-01-27T15:15:25", datetime(2021, 1, 27, 15, 15, 25, tzinfo=UTC)),
        ("2021-01-27 15:15:25-05:00", datetime(2021, 1, 27, 15, 15, 25, tzinfo=timezone(timedelta(hours=-5)))),
    ],
)
def test_a_time_is_aware(text: str, when: datetime) -> None:
    read = wire.job_snapshot({**JOB, "created_at": text}).created_at
    assert (read, read and read.utcoffset()) == (when, when.utcoffset())


BAD_IDS_AND_STATUSES: dict[str, list[object]] = {
    "id": [
        None,
        7,
        True,
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "a?b",
        "a#b",
        "a b",
        "a\n",
        "%2e%2e",
        "x" * 10_000,
        "é",
        [],
        {},
        DEEP,
    ],
    "status": [None, 7, 1.5, True, "", "x" * 101, "a\nb", "a\x00", "\ud800", "\u202e", [], {}, ["complete"], DEEP],
}
ODD_FIELDS: dict[str, list[object]] = {
    "name": [7, False, [], {}, DEEP, "\ud800"],
    "target": [7, [], {}],
    "language": [1.0, [], {}],
    "created_at": [
        0,
        1.6e9,
        "",
        "yesterday",
        "2021-13-01T00:00:00Z",
        "2021-01-27T25:00:00Z",
        "9" * 10_000,
        "\ud800",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999999-12:00",
        "2016-12-31T23:59:60Z",
        [],
        {},
    ],
    "started_at": ["now", True, {}],
    "finished_at": ["x", 7, []],
    "running_time": [True, "9us", "1.0", [], {}, float("nan"), float("inf"), float("-inf"), 1e12, 10**400, -(10**400)],
    "meta": [[], "", "oops", 0, False, [["a", 1]], DEEP],
}


def in_rows(table: dict[str, list[object]]) -> list[tuple[str, object]]:
    return [(field, value) for field, values in table.items() for value in values]


class Notes(list[tuple[str, str]]):
    """The fields that were noted, with what is wrong with each."""

    def note(self, field: str, reason: str) -> None:
        assert len(reason.encode()) < 300
        assert reason.isprintable()
        self.append((field, reason))

    @property
    def fields(self) -> list[str]:
        return [field for field, _ in self]


@pytest.mark.parametrize(("field", "value"), in_rows(BAD_IDS_AND_STATUSES), ids=lambda v: ascii(v)[:30])
def test_a_job_without_an_id_or_a_status_is_refused_in_one_short_printable_line(field: str, value: object) -> None:
    notes = Notes()
    with pytest.raises(MalformedResponse, match=field) as refusal:
        wire.job_snapshot({**JOB, field: value, "name": 7}, note=notes.note)
    assert len(str(refusal.value).encode()) < 300
    assert str(refusal.value).isprintable()
    assert not notes, "it is no job whose name is odd"


@pytest.mark.parametrize(("field", "value"), in_rows(ODD_FIELDS), ids=lambda v: ascii(v)[:30])
def test_an_odd_field_is_none_and_noted_and_the_job_is_a_job(field: str, value: object) -> None:
    notes = Notes()
    read = wire.job_snapshot({**JOB, "name": "demo", field: value}, note=notes.note)
    assert read == replace(wire.job_snapshot(JOB), **{field: {} if field == "meta" else None})
    assert notes.fields == [f"job.{field}"]
    assert field in notes[0][1]


def test_all_fields_may_be_odd_at_once() -> None:
    notes = Notes()
    odd = {field: values[0] for field, values in ODD_FIELDS.items()}
    read = wire.job_snapshot({**JOB, **odd}, note=notes.note)
    assert read == JobSnapshot(id="c1b2", status=JobStatus.QUEUED)
    assert notes.fields == [f"job.{field}" for field in ODD_FIELDS]


@pytest.mark.parametrize("place", ["first", "middle", "last", "all"])
@pytest.mark.parametrize(("field", "value"), in_rows(BAD_IDS_AND_STATUSES), ids=lambda v: ascii(v)[:30])
def test_a_record_that_cannot_be_read_costs_no_other(field: str, value: object, place: str) -> None:
    records = [{**JOB, "id": f"job-{number}"} for number in range(5)]
    bad = {"first": [0], "middle": [2], "last": [4], "all": range(5)}[place]
    for number in bad:
        records[number] = {**records[number], field: value}
    found = wire.job_records({"data": records})
    for number, record in enumerate(found):
        if number in bad:
            assert isinstance(record, MalformedRecord)
            assert record.id == (None if field == "id" else f"job-{number}")
        else:
            assert isinstance(record, JobSnapshot)
            assert record.id == f"job-{number}"
    assert len(found) == 5


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("response", [None, True, 7, 1e400, "text", [], [JOB], DEEP, {}], ids=lambda v: ascii(v)[:20])
def test_a_response_of_the_wrong_type_is_refused(reader: str, response: object) -> None:
    if response == {} and reader == "specification":
        assert READERS[reader](response) is not None  # nothing in them is mandatory
        return
    with pytest.raises(MalformedResponse):
        READERS[reader](response)


@pytest.mark.parametrize("data", [None, {}, "text", 7])
def test_a_response_without_a_list_of_jobs_is_refused(data: object) -> None:
    with pytest.raises(MalformedResponse):
        wire.job_records({"data": data})


@pytest.mark.parametrize("item", [None, "id", [], 7, {}, {"id": "a"}, {"status": "open"}])
def test_an_item_that_is_no_job_is_left_out(item: object) -> None:
    notes = Notes()
    job, left_out = wire.job_records({"data": [JOB, item]}, note=notes.note)
    assert job == wire.job_snapshot(JOB)
    assert isinstance(left_out, MalformedRecord)
    assert notes.fields == ["job"]


def test_a_list_keeps_its_order_and_its_duplicates() -> None:
    data = [{**JOB, "id": "b"}, {**JOB, "id": "a"}, {**JOB, "id": "b"}]
    assert [job.id for job in wire.job_records({"data": data})] == ["b", "a", "b"]


def test_a_circuit_is_the_exact_text() -> None:
    assert wire.circuit({"circuit": "name x\r\n\ud83d\t "}) == "name x\r\n\ud83d\t "


def test_a_device_is_read() -> None:
    response = {
        "target": "X8_01",
        "status": "online",
        "created_at": "2021-01-27T15:15:25Z",
        "expected_uptime": {"monday": ["15:00:00+00:00", "19:59:59+00:00"], "tuesday": None, "sunday": []},
    }
    assert wire.device(response) == Device(
        target="X8_01",
        status="online",
        created_at=datetime(2021, 1, 27, 15, 15, 25, tzinfo=UTC),
        expected_uptime={"monday": (time(15, tzinfo=UTC), time(19, 59, 59, tzinfo=UTC))},
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("status", 1),
        ("created_at", "soon"),
        ("expected_uptime", []),
        ("expected_uptime", "daily"),
        ("expected_uptime", {"monday": "15:00:00"}),
        ("expected_uptime", {"monday": ["15:00:00"]}),
        ("expected_uptime", {"monday": ["a", "b"]}),
        ("expected_uptime", {"monday": [1, 2]}),
        ("expected_uptime", {"monday": 7}),
        ("expected_uptime", {"monday": {"from": "15:00:00"}}),
    ],
)
def test_an_odd_field_of_a_device_is_left_out_and_noted(field: str, value: object) -> None:
    notes = Notes()
    read = wire.device({"target": "X8_01", field: value}, note=notes.note)
    assert read == Device(target="X8_01")
    assert notes.fields == [f"device.{field}"]


def test_an_odd_day_does_not_cost_the_week() -> None:
    notes = Notes()
    hours = ["09:00:00+00:00", "17:00:00+00:00"]
    uptime = {"monday": hours, "tuesday": ["00:00", "24:00"], "wednesday": 7, "thursday": hours}
    read = wire.device({"target": "X8_01", "expected_uptime": uptime}, note=notes.note)
    assert [*read.expected_uptime] == ["monday", "thursday"]
    assert "tuesday" in notes[0][1]


@pytest.mark.parametrize("target", [None, "", 8, [], "\ud800"])
def test_a_device_without_a_target_is_left_out_of_a_list(target: object) -> None:
    notes = Notes()
    response = {"data": [{"target": "X8_01"}, {"target": target}, 7, {"target": "X12_01"}]}
    assert [device.target for device in wire.devices(response, note=notes.note)] == ["X8_01", "X12_01"]
    assert notes.fields == ["device", "device"]
    with pytest.raises(MalformedResponse, match="target"):
        wire.device({"target": target})


@pytest.mark.parametrize("response", [None, True, 7, 1e400, "text", [], [JOB], DEEP], ids=lambda v: ascii(v)[:20])
def test_an_odd_certificate_is_none_and_noted(response: object) -> None:
    notes = Notes()
    assert wire.certificate(response, note=notes.note) is None
    assert notes.fields == ["certificate"]
    assert wire.certificate({"a": response}) == {"a": response}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("modes", modes) for modes in (True, "8", [8], 8.5)],
        *[("compiler", compiler) for compiler in ("Xunitary", [1], {"first": "Xunitary"})],
        *[("layout", 7), ("target", []), ("gate_parameters", [])],
    ],
)
def test_a_bad_specification_is_refused_and_the_field_is_named(field: str, value: object) -> None:
    with pytest.raises(MalformedResponse, match=field):
        wire.specification({field: value}, target="X8_01")
    notes = Notes()
    found = wire.specification({field: value}, target="X8_01", note=notes.note)
    assert (found, notes.fields) == (wire.specification({}, target="X8_01"), [f"specification.{field}"])


@pytest.mark.parametrize("modes", [8, {"concurrent": 44, "spatial": 1, "temporal_max": 331}])
def test_a_specification_has_modes_as_a_number_or_an_object(modes: object) -> None:
    assert wire.specification({"modes": modes}, target="X8_01").modes == modes


def test_a_specification_without_a_target_has_the_requested_one() -> None:
    assert wire.specification({}, target="X8_01").target == "X8_01"


@pytest.mark.parametrize("lifetime", [300, 0.5])
def test_the_lifetime_of_a_token_is_in_seconds(lifetime: float) -> None:
    assert wire.access_token({"access_token": "abc", "expires_in": lifetime}) == ("abc", float(lifetime))


@pytest.mark.parametrize("lifetime", [None, 0, -1, True, "300", float("nan"), float("inf"), 10**400, []])
def test_an_implausible_lifetime_of_a_token_is_ignored(lifetime: object) -> None:
    assert wire.access_token({"access_token": "abc", "expires_in": lifetime}) == ("abc", None)


TOKEN = "eyJ-that-must-never-be-seen"


@pytest.mark.parametrize(
    "response",
    [TOKEN, [TOKEN], {"token": TOKEN}, {"access_token": None}, {"access_token": ""}, {"access_token": [TOKEN]}]
    + [
        {"access_token": text}
        for text in (TOKEN + "\n", TOKEN + "\r\nX-Evil: 1", "a " + TOKEN, TOKEN + "é", "\x00" + TOKEN)
    ],
)
def test_an_invalid_token_is_refused_and_not_shown(response: object) -> None:
    with pytest.raises(MalformedResponse) as refusal:
        wire.access_token(response)
    assert TOKEN not in str(refusal.value)


@pytest.mark.parametrize(
    ("response", "words"),
    [
        ({"code": "not-found", "detail": "no job", "meta": {"a": 1}}, ("not-found", "no job", {"a": 1})),
        (
            {"code": "validation-error", "meta": {"name": ["too long"], "_schema": ["odd"]}},
            ("validation-error", "name: too long; odd", {"name": ["too long"], "_schema": ["odd"]}),
        ),
        (
            {"code": "validation-error", "meta": {"id": {"0": ["bad"], "1": ["worse", 7]}}},
            ("validation-error", "id: bad; id: worse; id: 7", {"id": {"0": ["bad"], "1": ["worse", 7]}}),
        ),
        ({"code": "validation-error", "meta": {"a": None}}, ("validation-error", "a: None", {"a": None})),
        (
            {"code": "validation-error", "detail": "Not valid.", "meta": {"target": ["There is no such target."]}},
            ("validation-error", "target: There is no such target.", {"target": ["There is no such target."]}),
        ),
        ({"code": "validation-error", "detail": "Not valid.", "meta": {}}, ("validation-error", "Not valid.", {})),
        (
            {"code": "validation-error", "detail": "Not valid.", "meta": {"id": []}},
            ("validation-error", "Not valid.", {"id": []}),
        ),
        ({"code": "conflict", "detail": "odd", "meta": {"line": 3}}, ("conflict", "odd", {"line": 3})),
        ({"code": "validation-error", "meta": []}, ("validation-error", "", {})),
        ({"code": 404, "detail": ["x"], "meta": "none"}, ("", "", {})),
        ({"code": "c" * 500, "detail": "d" * 5000}, ("c" * 100, "d" * 2000, {})),
        ({}, ("", "", {})),
        (None, ("", "", {})),
        ([], ("", "", {})),
        ("error", ("", "", {})),
        (7, ("", "", {})),
    ],
)
def test_the_fields_of_an_error_response_are_read(response: object, words: tuple[object, ...]) -> None:
    assert wire.error_fields(response) == words


@pytest.mark.parametrize("job_id", BAD_IDS_AND_STATUSES["id"])
def test_no_text_reaches_another_path_as_an_id(job_id: object) -> None:
    if isinstance(job_id, str):
        with pytest.raises(ValueError, match="not a job id"):
            wire.job_path(job_id)


@pytest.mark.parametrize("target", ["", "..", "../jobs", "a/b", "a?b", "a b", "a\n", "-a", "x" * 101, "é", "%41"])
def test_no_text_reaches_another_path_as_a_target(target: str) -> None:
    with pytest.raises(ValueError, match="not the name of a target"):
        wire.device_path(target)


@pytest.mark.parametrize("job_id", ["1", "c1b2-a", "0" * 200, "job:7", "a.b~c_d"])
def test_a_plain_id_is_put_into_the_path(job_id: str) -> None:
    assert wire.job_path(job_id, "/result") == f"/jobs/{job_id}/result"


def test_a_submission_has_the_four_fields_of_version_0_4_0() -> None:
    assert wire.submission(name=None, target="X8_01", circuit="x") == {
        "name": None,
        "target": "X8_01",
        "circuit": "x",
        "language": "blackbird:1.0",
    }


def test_the_response_to_a_batch_is_read_item_by_item() -> None:
    words = {"code": "no", "detail": "not this one", "meta": {"a": 1}}
    items = [{"status": 201, "job": {"id": "a", "status": "open"}}, {"status": 409, "error": words}, 7]
    job, refused, malformed = wire.batch({"data": items}, 4)
    [odd] = wire.batch({"data": [{"status": 201, "job": {"id": "a", "status": "open", "created_at": 7}}]}, 1)
    assert odd == job
    assert job == wire.job_snapshot({"id": "a", "status": "open"})
    assert refused == wire.RefusedItem(409, ("no", "not this one", {"a": 1}))
    assert isinstance(malformed, wire.MalformedResponse)
    assert malformed.__traceback__ is None


def test_a_response_with_more_items_than_the_batch_is_malformed() -> None:
    with pytest.raises(wire.MalformedResponse, match="2 outcomes for 1 submissions"):
        wire.batch({"data": [{}, {}]}, 1)


def test_a_legacy_submission_is_the_circuit_alone() -> None:
    assert wire.legacy_submission(circuit="x") == {"circuit": "x"}


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10) | st.sampled_from([*JOB, "data"]), inner)
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("reader", [*READERS, "error_fields"])
@settings(max_examples=60, deadline=None)
@given(response=ANYTHING)
def test_any_json_is_read_or_refused(reader: str, response: object) -> None:
    try:
        READERS.get(reader, wire.error_fields)(response)
    except MalformedResponse:
        assert reader != "error_fields"


@settings(max_examples=60, deadline=None)
@given(changes=st.dictionaries(st.sampled_from([*JOB]), ANYTHING))
def test_any_fields_of_a_job_are_read_or_refused(changes: dict[str, Any]) -> None:
    try:
        snapshot = wire.job_snapshot({**JOB, **changes})
    except MalformedResponse:
        return
    assert wire.job_path(snapshot.id)
