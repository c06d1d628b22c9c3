"""What goes wrong on purpose: a ``Fault`` says what happens and to which requests, ``Faults`` counts and chooses. No I/O."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal, TypeAlias, TypedDict, Unpack

from ..models import JSONValue

ResetWhen: TypeAlias = Literal["on connect", "before request", "before answer", "in answer", "after answer"]
FeedEnd: TypeAlias = Literal["end", "reset", "no bytes", "garbage", "bye"]

FaultKind: TypeAlias = Literal[
    "refused", "unresolved", "no tls", "reset on connect",
    "status", "reset before request",
    "expired token",
    "reset before answer", "reset in answer", "reset after answer", "no answer", "slow answer", "cut head", "cut body",
    "garbage", "feed cut",
    "delay", "odd record", "clock skew", "compressed",
]  # fmt: skip
"""The kinds, in the order in which a request meets them."""

OF_CONNECTIONS: frozenset[FaultKind] = frozenset({"refused", "unresolved", "no tls", "reset on connect"})
IN_PLACE_OF_THE_PLATFORM: frozenset[FaultKind] = frozenset({"status", "reset before request"})
OF_ANSWERS: frozenset[FaultKind] = frozenset({"delay", "odd record", "clock skew", "compressed"})
"""Change an answer, which arrives. Several of them may apply to one request, beside one of the others."""

TOKEN_PATH = "/auth/*"  # noqa: S105 - a path
PAGE = b"<!DOCTYPE html><html><head><title>Welcome</title></head><body>Please sign in.</body></html>"


class Turns(TypedDict, total=False):
    """Which of several connections or requests fail: ``times`` of them from the ``nth`` on, or all from there with None."""

    nth: int
    times: int | None


class Selection(Turns, total=False):
    """
    Which requests fail. ``path`` is a pattern, where ``*`` stands for any characters, slashes included. Without it all requests
    are meant but those for access tokens, whose path is ``/auth/*``.
    """

    method: str
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """
    One thing that goes wrong. Make it with one of the class methods below.

    Each takes ``nth`` (1 is the first) and ``times`` (1; None means for ever), and those about requests ``method`` and ``path``
    as well, where ``*`` in a path stands for any characters: ``Fault.status(503, method="GET", path="/jobs/*", times=2)``.
    """

    kind: FaultKind
    nth: int = 1
    times: int | None = 1
    method: str | None = None
    path: str | None = None
    code: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    seconds: float = 0.0
    fields: Mapping[str, JSONValue] = field(default_factory=dict)
    job_id: str | None = None
    events: int = 0
    ending: FeedEnd = "end"
    coding: Literal["gzip", "deflate"] = "gzip"
    is_damaged: bool = False

    def __post_init__(self) -> None:
        if self.nth < 1 or (self.times is not None and self.times < 1):
            raise ValueError(f"nth and times of a fault count from 1, and are {self.nth} and {self.times}")

    def matches(self, method: str, path: str) -> bool:
        """Return whether a request with this method and path, without its query, is meant."""
        if self.method is not None and self.method.upper() != method:
            return False
        if self.path is None:
            return not fnmatchcase(path, TOKEN_PATH)
        return fnmatchcase(path, self.path)

    # -- the connection ------------------------------------------------------------------------------------------------

    @classmethod
    def refused(cls, **turns: Unpack[Turns]) -> Fault:
        """Refuse the connection. In memory only: a server that listens cannot refuse."""
        return cls(kind="refused", **turns)

    @classmethod
    def unresolved(cls, **turns: Unpack[Turns]) -> Fault:
        """Let the name of the platform have no address. In memory only."""
        return cls(kind="unresolved", **turns)

    @classmethod
    def no_tls(cls, **turns: Unpack[Turns]) -> Fault:
        """Let the server speak no TLS although the url begins with https. In memory, and over sockets with ``tls``."""
        return cls(kind="no tls", **turns)

    # -- the request -----------------------------------------------------------------------------------------------------

    @classmethod
    def status(
        cls,
        code: int,
        body: bytes | str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        **selection: Unpack[Selection],
    ) -> Fault:
        """
        Answer with this status, and with an error of the protocol unless there is a ``body``. The request takes no effect.

        ``headers={"Retry-After": "1"}`` belongs to a 429, ``{"content-type": "text/html"}`` to a page of a proxy.
        """
        content = body.encode() if isinstance(body, str) else body
        return cls(kind="status", code=code, body=content, headers=dict(headers or {}), **selection)

    @classmethod
    def page(cls, code: int = 200, **selection: Unpack[Selection]) -> Fault:
        """Answer with a page in HTML, as the sign-in page of a hotel does. The request takes no effect."""
        return cls.status(code, PAGE, headers={"content-type": "text/html; charset=utf-8"}, **selection)

    @classmethod
    def redirect(cls, location: str, code: int = 307, **selection: Unpack[Selection]) -> Fault:
        """Send the client elsewhere, to a path or a url. The request takes no effect."""
        return cls.status(code, b"", headers={"location": location}, **selection)

    @classmethod
    def expired_token(cls, **selection: Unpack[Selection]) -> Fault:
        """Let all access tokens expire just before the request, so that it is answered 401. It takes no effect."""
        return cls(kind="expired token", **selection)

    # -- the answer ------------------------------------------------------------------------------------------------------

    @classmethod
    def reset(cls, when: ResetWhen, **selection: Unpack[Selection]) -> Fault:
        """
        Reset the connection. From "before answer" on the request has taken effect; "after answer" the client has all of it.

        "on connect" comes before any request, so it takes neither ``method`` nor ``path``.
        """
        if when == "on connect" and {"method", "path"} & selection.keys():
            raise ValueError("a reset on connect comes before the request, so it takes neither method nor path")
        return cls(kind=f"reset {when}", **selection)  # type: ignore[arg-type]  # each of them is a kind

    @classmethod
    def lost_answer(cls, **selection: Unpack[Selection]) -> Fault:
        """Lose the answer: the request takes effect, and the connection is reset instead of answered."""
        return cls.reset("before answer", **selection)

    @classmethod
    def no_answer(cls, **selection: Unpack[Selection]) -> Fault:
        """Send nothing, until the client gives up. The request takes effect."""
        return cls(kind="no answer", **selection)

    @classmethod
    def slow_answer(cls, seconds: float = 0.02, **selection: Unpack[Selection]) -> Fault:
        """Send the answer byte by byte with ``seconds`` between two of them, so that no read times out. It takes effect."""
        return cls(kind="slow answer", seconds=seconds, **selection)

    @classmethod
    def cut_answer(cls, part: Literal["head", "body"] = "body", **selection: Unpack[Selection]) -> Fault:
        """End the connection in the middle of the head or of the body. The request takes effect."""
        return cls(kind="cut head" if part == "head" else "cut body", **selection)

    @classmethod
    def garbage(cls, **selection: Unpack[Selection]) -> Fault:
        """Answer with bytes that are not HTTP. The request takes effect."""
        return cls(kind="garbage", **selection)

    @classmethod
    def feed_cut(cls, after_events: int = 0, ending: FeedEnd = "end", **turns: Unpack[Turns]) -> Fault:
        """
        End a stream of the change feed after so many events about jobs.

        ``ending``: the stream's regular end, a reset, no more bytes, events that are garbage, or the event ``bye`` that comes
        when an access token expires.
        """
        return cls(kind="feed cut", events=after_events, ending=ending, path="/jobs/changes", **turns)

    # -- changes of an answer that arrives -------------------------------------------------------------------------------

    @classmethod
    def delay(cls, seconds: float, **selection: Unpack[Selection]) -> Fault:
        """Answer this much later."""
        return cls(kind="delay", seconds=seconds, **selection)

    @classmethod
    def odd_record(
        cls, fields: Mapping[str, JSONValue], *, job_id: str | None = None, **selection: Unpack[Selection]
    ) -> Fault:
        """Put these fields in place of those of each job in the answer, or of one job: ``{"status": None}``."""
        return cls(kind="odd record", fields=dict(fields), job_id=job_id, **selection)

    @classmethod
    def clock_skew(cls, seconds: float, **selection: Unpack[Selection]) -> Fault:
        """Let the ``Date`` of the answer be this far ahead. Give ``times=None`` for a clock that is always wrong."""
        return cls(kind="clock skew", seconds=seconds, **selection)

    @classmethod
    def compressed(
        cls, coding: Literal["gzip", "deflate"] = "gzip", *, damaged: bool = False, **selection: Unpack[Selection]
    ) -> Fault:
        """Compress the body, although no client of the protocol needs that. A ``damaged`` one lacks its second half."""
        return cls(kind="compressed", coding=coding, is_damaged=damaged, **selection)


@dataclass(slots=True)
class _Count:
    """How many requests a fault has matched, and how many it was applied to."""

    matched: int = 0
    applied: int = 0


class Faults:
    """
    The faults of one platform, in order. Of those that are due for a request the first applies, beside faults that only change
    an answer. Safe to use from any thread, also while requests are under way.

        faults = Faults(Fault.status(503, path="/jobs", times=2), Fault.lost_answer(method="POST"))
    """

    def __init__(self, *faults: Fault) -> None:
        self._lock = threading.Lock()
        self._faults = [(fault, _Count()) for fault in faults]
        self._checks: list[Callable[[Fault], None]] = []

    def add(self, *faults: Fault) -> None:
        """Append faults, which count requests from now on."""
        for fault in faults:
            for check in self._checks:
                check(fault)
        with self._lock:
            self._faults += [(fault, _Count()) for fault in faults]

    def clear(self) -> None:
        """Let nothing more go wrong."""
        with self._lock:
            self._faults.clear()

    def applied(self, kind: FaultKind | None = None) -> int:
        """Return how often faults were applied, all or those of one kind, since ``clear``."""
        with self._lock:
            return sum(count.applied for fault, count in self._faults if kind in (None, fault.kind))

    def __iter__(self) -> Iterator[Fault]:
        with self._lock:
            return iter([fault for fault, _ in self._faults])

    def __repr__(self) -> str:
        return f"Faults({', '.join(fault.kind for fault in self)})"

    @contextmanager
    def checked_by(self, check: Callable[[Fault], None]) -> Iterator[None]:
        """Call ``check`` for each fault now, and for one that is added in the block. It raises what the caller gets."""
        for fault in self:
            check(fault)
        self._checks.append(check)
        try:
            yield
        finally:
            self._checks.remove(check)

    def for_connection(self) -> Fault | None:
        """Count a new connection. Return the fault to apply."""
        found = self._due(lambda fault: fault.kind in OF_CONNECTIONS)
        return found[0] if found else None

    def for_request(self, method: str, path: str) -> list[Fault]:
        """Count a request. Return the faults to apply, the one that replaces or damages the answer first."""
        return self._due(lambda fault: fault.kind not in OF_CONNECTIONS and fault.matches(method, path))

    def _due(self, is_meant: Callable[[Fault], bool]) -> list[Fault]:
        found: list[Fault] = []
        with self._lock:
            for fault, count in self._faults:
                if not is_meant(fault):
                    continue
                count.matched += 1
                is_due = count.matched >= fault.nth and (fault.times is None or count.applied < fault.times)
                if is_due and (fault.kind in OF_ANSWERS or not any(other.kind not in OF_ANSWERS for other in found)):
                    count.applied += 1
                    found.append(fault)
        return sorted(found, key=lambda fault: fault.kind in OF_ANSWERS)
