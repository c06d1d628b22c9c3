"""
Spans for OpenTelemetry, in programs that use it: ``sfjobs.submit``, ``sfjobs.wait`` and ``sfjobs.result``.

A program that traces has imported ``opentelemetry.trace`` before it submits a job. Nothing is imported here unless it has, so a
span costs everybody else one look into ``sys.modules``. No attribute and no description is a secret: they are ids, numbers,
words of the protocol, and messages of our own errors.
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
    """What a traced piece of work has to say about itself. This one says it to nobody."""

    __slots__ = ()

    def note(self, **attributes: Value) -> None:
        """Adds ``sfjobs.<name>`` for each attribute."""

    def __enter__(self) -> Span:
        return self

    def __exit__(self, *exception: object) -> None:
        pass


class _Recorded(Span):
    __slots__ = ("_span",)

    def __init__(self, span: OTelSpan) -> None:
        self._span = span

    def note(self, **attributes: Value) -> None:
        for name, value in attributes.items():
            if value is not None:
                self._span.set_attribute(f"sfjobs.{name}", value)


_SILENT = Span()
_NOTHING: Mapping[str, str] = {}

# Only spans around one request are found by it: what a waiter asks, it asks for all waiters.
_around_request: ContextVar[Span] = ContextVar("sfjobs_span", default=_SILENT)


def span(name: str, *, requests: bool = False, **attributes: Value) -> AbstractContextManager[Span]:
    """
    A span named ``sfjobs.<name>`` with these attributes, the present one of the ``with`` block. With ``requests`` it hears
    from the transport how often its request was tried, and goes along with the request as its trace context.
    """
    if "opentelemetry.trace" not in sys.modules:
        return _SILENT
    return _recorded(name, requests, attributes)


def note_attempt(number: int) -> None:
    """Tells the span around this request how often it has been tried."""
    _around_request.get().note(attempts=number)


def headers() -> Mapping[str, str]:
    """The W3C trace context (``traceparent``, and ``tracestate`` if there is one) for the request that a span is around."""
    if _around_request.get() is _SILENT:
        return _NOTHING
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    # Not the propagators that the program has set up: baggage is none of the platform's business.
    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier


@contextmanager
def _recorded(name: str, requests: bool, attributes: Mapping[str, Value]) -> Iterator[Span]:
    from opentelemetry import trace

    kind = trace.SpanKind.CLIENT if requests else trace.SpanKind.INTERNAL
    tracer = trace.get_tracer_provider().get_tracer("sfjobs", __version__)
    # A recorded exception would bring its stack trace, which is not ours to vouch for.
    with tracer.start_as_current_span(
        f"sfjobs.{name}", kind=kind, record_exception=False, set_status_on_exception=False
    ) as current:
        recorded = _Recorded(current)
        recorded.note(**attributes)
        token = _around_request.set(recorded if requests else _SILENT)
        try:
            yield recorded
        except Exception as error:
            current.set_attribute("error.type", type(error).__qualname__)
            description = str(error) if isinstance(error, SFJobsError) else None
            current.set_status(trace.StatusCode.ERROR, description)
            raise
        finally:
            _around_request.reset(token)
