"""``GET /jobs/changes``: the change feed as server-sent events (WHATWG HTML, section 9.2)."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any, Final

import anyio
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ...errors import ApiError
from ...jobs.change_feed import MEDIA_TYPE, ChangePublisher
from ..abort import abort_of
from ..responses import until_disconnected
from ..tokens import AccessTokens, Bearer

HEARTBEAT = 10.0
"""Seconds of silence after which a comment shows that the stream lives."""
PATIENCE = 30.0
"""Seconds that a reader who does not read is waited for."""

_RETRY: Final = b"retry: 1000\n\n"
_COMMENT: Final = b":\n\n"
_BYE: Final = b"event: bye\ndata: {}\n\n"
_log = logging.getLogger(__name__)


class ChangeRoutes:
    def __init__(self, feed: ChangePublisher, tokens: AccessTokens) -> None:
        self._feed = feed
        self._tokens = tokens

    async def changes(self, request: Request) -> Response:
        """
        Everything since a cursor, else what happens from now on. ``Last-Event-ID`` is where a reader has come to, ``since`` where
        the link it followed began.
        """
        cursor = request.headers.get("last-event-id", request.query_params.get("since"))
        change = None if cursor is None else self._feed.change_at(cursor)
        if cursor is not None and change is None:
            detail = "The cursor is not known any more: list the jobs again, then ask without a cursor."
            raise ApiError(410, "cursor-expired", detail)
        return EventStream(self._feed, self._tokens, request.state.bearer, change)


class EventStream(Response):
    """
    Ends with the access token or with the platform (event ``bye``), or with its reader: one that has gone, or does not read for
    ``PATIENCE`` seconds while there is something to tell.
    """

    def __init__(self, feed: ChangePublisher, tokens: AccessTokens, bearer: Bearer, change: int | None) -> None:
        super().__init__(headers={"content-type": MEDIA_TYPE, "cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._feed = feed
        self._tokens = tokens
        self._bearer = bearer
        self._change = change

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(until_disconnected, receive, tasks.cancel_scope)
            reader = _Reader(send, self._feed)
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            with self._feed.stream(self._bearer.account):
                if scope["method"] == "HEAD" or await self._tell(reader):
                    await reader.end()
            if reader.stuck and (abort := abort_of(scope)) is not None:
                _log.debug("a reader of job changes is dropped: it does not read")
                abort()
                return  # the connection's end ends the task group
            tasks.cancel_scope.cancel()

    async def _tell(self, reader: _Reader) -> bool:
        """Returns whether the reader has heard all there was to hear, the end of the stream included."""
        feed = self._feed
        after = feed.newest() if self._change is None else self._change
        hello = b"event: hello\nid: %s\ndata: {}\n\n" % feed.cursor(after).encode()
        heard = await reader.hears(_RETRY + hello if self._change is None else _RETRY)
        while heard:
            if not self._tokens.is_good(self._bearer):
                return await reader.hears(_BYE)
            wake = feed.wake(self._bearer.account)
            page = feed.page(self._bearer.account, after)
            if page.events:
                heard = await reader.hears(page.events)
                after = page.after
                continue
            if feed.closing.is_set():
                return await reader.hears(_BYE)
            left = self._bearer.expires - time.time()
            with anyio.move_on_after(min(left, HEARTBEAT)) as silence:
                await wake.wait()
            if silence.cancelled_caught and left > HEARTBEAT:
                heard = await reader.hears(_COMMENT)
        return heard


class _Reader:
    """The other end of a stream, given up when it has not read for too long, or is not reading while the platform stops."""

    def __init__(self, send: Send, feed: ChangePublisher) -> None:
        self._send = send
        self._feed = feed
        self.stuck = False

    async def hears(self, events: bytes) -> bool:
        await self._pass_on({"type": "http.response.body", "body": events, "more_body": True})
        return not self.stuck

    async def end(self) -> None:
        await self._pass_on({"type": "http.response.body", "body": b"", "more_body": False})

    async def _pass_on(self, message: Mapping[str, Any]) -> None:
        with self._feed.sending(PATIENCE) as scope:
            await self._send(dict(message))
        self.stuck = self.stuck or scope.cancelled_caught
