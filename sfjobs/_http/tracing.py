"""
Spans for OpenTelemetry, in programs that use it: ``sfjobs.submit``, ``sfjobs.wait`` and ``sfjobs.result``.

A program with tracing has imported ``opentelemetry.trace`` before it submits a job. Otherwise nothing is imported here, and a
span costs one look into ``sys.modules``. Attributes and descriptions hold no secrets: they are ids, numbers, words of the
protocol and messages of our own errors.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeAlias

from .._version import __version__
from ..errors import SFJobsError

if TYPE_CHECKING:
    from opentelemetry.trace import Span as OTelSpan

Value: TypeAlias = str | int | None
"""An attribute; None is left out."""


class Span:
    """A span that records nothing; the base class of those that do."""

    __slots__ = ()

    def note(self, **attributes: Value) -> None:
        """Set the attribute ``sfjobs.<name>`` for each argument."""

    def __enter__(self) -> Span:
        return self

    def __exit__(self, *exception: object) -> None:
        pass


class _RecordedSpan(Span):
    __slots__ = ("_span",)

    def __init__(self, span: OTelSpan) -> None:
        self._span = span

    def note(self, **attributes: Value) -> None:
        for name, value in attributes.items():
            if value is not None:
                self._span.set_attribute(f"sfjobs.{name}", value)


_NO_SPAN = Span()
_NO_HEADERS: Mapping[str, str] = {}

# Only spans around one request: a poll of one waiter serves all waiters.
_around_request: ContextVar[Span] = ContextVar("sfjobs_span", default=_NO_SPAN)


def span(name: str, *, requests: bool = False, **attributes: Value) -> AbstractContextManager[Span]:
    """
    Return a context manager for a span named ``sfjobs.<name>``. With ``requests`` it covers one request: the transport notes the
    attempts on it and sends it as the request's trace context.
    """
    if "opentelemetry.trace" not in sys.modules:
        return _NO_SPAN
    return _recorded(name, requests, attributes)


def note_attempt(number: int) -> None:
    """Note the number of the attempt on the span around this request."""
    _around_request.get().note(attempts=number)


def headers() -> Mapping[str, str]:
    """Return the W3C trace context (``traceparent``, perhaps ``tracestate``) of the span around this request."""
    if _around_request.get() is _NO_SPAN:
        return _NO_HEADERS
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    # Not the program's own propagators: baggage does not belong on the platform.
    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier


@contextmanager
def _recorded(name: str, requests: bool, attributes: Mapping[str, Value]) -> Iterator[Span]:
    from opentelemetry import trace

    kind = trace.SpanKind.CLIENT if requests else trace.SpanKind.INTERNAL
    tracer = trace.get_tracer_provider().get_tracer("sfjobs", __version__)
    # A recorded exception would hold its stack trace, which may hold secrets.
    with tracer.start_as_current_span(
        f"sfjobs.{name}", kind=kind, record_exception=False, set_status_on_exception=False
    ) as current:
        recorded = _RecordedSpan(current)
        recorded.note(**attributes)
        token = _around_request.set(recorded if requests else _NO_SPAN)
        try:
            yield recorded
        except Exception as error:
            current.set_attribute("error.type", type(error).__qualname__)
            description = str(error) if isinstance(error, SFJobsError) else None
            current.set_status(trace.StatusCode.ERROR, description)
            raise
        finally:
            _around_request.reset(token)
