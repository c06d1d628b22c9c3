"""
D-Wave's protocol as dwave-cloud-client 0.14.8 uses it for small problems of a structured solver: submissions in lists, long polls
of statuses, one response per problem. It uses the same board, so that the ends of jobs are known in the same way.

A long poll returns when one of its problems has ended, or after its time. This follows the client's documentation of
``poll_wait_time``, since D-Wave's server is not public.
"""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from .board import KEY, Board
from .messages import Request, answered, refused

PREFIX: Final = b"/sapi/v2/"
SOLVER: Final = {"name": "benchmark", "version": {"graph_id": "1"}}

_DEFINITION: Final = {
    "identity": SOLVER,
    "status": "online",
    "description": "",
    "avg_load": 0.0,
    "properties": {
        "supported_problem_types": ["qubo", "ising"],
        "category": "qpu",
        "num_qubits": 2,
        "qubits": [0, 1],
        "couplers": [[0, 1]],
        "parameters": {"num_reads": ""},
    },
}


def _numbers(form: str, *values: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(values)}{form}", *values)).decode()


_ANSWER: Final = {
    "format": "qp",
    "num_variables": 2,
    "active_variables": _numbers("i", 0, 1),
    "num_occurrences": _numbers("i", 100),
    "energies": _numbers("d", 0.0),
    "solutions": base64.b64encode(b"\0").decode(),
}


@dataclass(frozen=True, slots=True)
class Held:
    """A long poll: ``answer`` is called after each change, and once more with True after ``seconds``."""

    answer: Callable[[bool], bytes | None]
    seconds: float


def answer(board: Board, request: Request, now: float, count: Callable[[str], None]) -> bytes | Held:
    """Return the response of the solver API at this moment."""
    if request.header(b"x-auth-token") != KEY.encode():
        return refused(401, "unauthenticated")
    room, _, rest = request.path.removeprefix(PREFIX).partition(b"/")
    if room == b"solvers":
        count("solvers")
        if rest.strip(b"/") == b"remote":
            return _answered([_DEFINITION], "solver-definition-list")
        return _answered(_DEFINITION, "solver-definition")
    if request.method == b"POST":
        count("batch")
        return _submit(board, request, now)
    if rest:
        index = board.find(rest.strip(b"/"))
        if index is None:
            return refused(404, "not-found")
        count("result" if board.ended[index] is not None else "one")
        return _answered(_problem(board, index, with_answer=True), "problem")
    count("list")
    return _statuses(board, request)


def _submit(board: Board, request: Request, now: float) -> bytes:
    body = zlib.decompress(request.body) if request.header(b"content-encoding") == b"deflate" else request.body
    taken = [board.submit(now, {}) for _ in json.loads(body)]
    return _answered([_problem(board, index) for index in taken], "problems")


def _statuses(board: Board, request: Request) -> bytes | Held:
    query = dict(item.split(b"=", 1) for item in request.query.split(b"&"))
    ids = query[b"id"].replace(b"%2c", b",").replace(b"%2C", b",").split(b",")
    indices = [index for index in map(board.find, ids) if index is not None]

    def say(time_is_up: bool) -> bytes | None:
        if time_is_up or any(board.ended[index] is not None for index in indices):
            return _answered([_problem(board, index) for index in indices], "problems")
        return None

    return say(b"timeout" not in query) or Held(say, float(query[b"timeout"]))


def _problem(board: Board, index: int, *, with_answer: bool = False) -> dict[str, Any]:
    job = json.loads(board.text(index))
    has_ended = board.ended[index] is not None
    problem = {
        "id": job["id"],
        "type": "qubo",
        "solver": SOLVER,
        "label": None,
        "status": "COMPLETED" if has_ended else "PENDING",
        "submitted_on": job["created_at"],
    }
    if has_ended:
        problem["solved_on"] = job["finished_at"]
    return {**problem, "answer": _ANSWER} if has_ended and with_answer else problem


def _answered(content: dict[str, Any] | Sequence[dict[str, Any]], what: str) -> bytes:
    headers = f"content-type: application/vnd.dwave.sapi.{what}+json; version=3.0.0\r\n".encode()
    return answered(200, json.dumps(content).encode(), headers)
