"""``GET /jobs/changes``: the change feed as server-sent events (WHATWG HTML, section 9.2)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final

import anyio
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ...errors import ApiError
from ...jobs.change_feed import MEDIA_TYPE, ChangePublisher
from ..abort import send_while_connected
from ..budgets import Budget, HeldResponse, owner_of
from ..tokens import AccessTokens, Bearer

HEARTBEAT_SECONDS = 10.0
"""After this time without an event, a comment shows that the stream is alive."""
SEND_TIMEOUT_SECONDS = 30.0
"""A client that has not read a message in this time is disconnected."""

REVOKED_SEND_TIMEOUT_SECONDS: Final = 0.5
"""For the end of a stream whose key was revoked."""

_RETRY: Final = b"retry: 1000\n\n"
_COMMENT: Final = b":\n\n"
_BYE: Final = b"event: bye\ndata: {}\n\n"


@dataclass(frozen=True, slots=True)
class ChangeRoutes:
    feed: ChangePublisher
    tokens: AccessTokens
    streams: Budget

    async def changes(self, request: Request) -> Response:
        """
        Stream the changes after a cursor, or from now on without one. ``Last-Event-ID`` is the cursor of the last event that the
        client received, ``since`` that of the link it followed.
        """
        cursor = request.headers.get("last-event-id", request.query_params.get("since"))
        change = None if cursor is None else self.feed.change_at(request.state.account, cursor)
        if cursor is not None and change is None:
            detail = "The cursor is not known any more, or too old. List the jobs again, then open the feed without a cursor."
            raise ApiError(410, "cursor-expired", detail)
        stream = EventStream(self.feed, self.tokens, request.state.bearer, change)
        return HeldResponse(stream, self.streams, owner_of(request))


class EventStream(Response):
    """
    The events of one account. The stream ends with the access token or the platform (event ``bye``), or when the client
    disconnects or does not read for ``SEND_TIMEOUT_SECONDS``.
    """

    def __init__(self, feed: ChangePublisher, tokens: AccessTokens, bearer: Bearer, change: int | None) -> None:
        super().__init__(headers={"content-type": MEDIA_TYPE, "cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._feed = feed
        self._tokens = tokens
        self._bearer = bearer
        self._change = change

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_all() -> bool:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            with self._feed.stream(self._bearer.account):
                is_read = scope["method"] == "HEAD" or await self._send_events(send)
                return is_read and await self._send(send, b"", more_body=False)

        if await send_while_connected(scope, receive, send_all) and scope["method"] != "HEAD":
            with anyio.move_on_after(REVOKED_SEND_TIMEOUT_SECONDS):
                await send({"type": "http.response.body", "body": _BYE, "more_body": False})

    async def _send_events(self, send: Send) -> bool:
        """Return whether the client has read all events, ``bye`` included."""
        feed = self._feed
        after = feed.newest(self._bearer.account) if self._change is None else self._change
        hello = b"event: hello\nid: %s\ndata: {}\n\n" % feed.cursor(after).encode()
        is_read = await self._send(send, _RETRY + hello if self._change is None else _RETRY)
        is_behind = False
        while is_read:
            if not self._tokens.is_valid(self._bearer):
                return await self._send(send, _BYE)
            wake = feed.wake(self._bearer.account)
            page = await feed.next_page(self._bearer.account, after, is_behind=is_behind)
            after, is_behind = page.change, page.is_full
            if page.events:
                is_read = await self._send(send, page.events)
                continue
            if feed.closing.is_set():
                return await self._send(send, _BYE)
            lifetime = self._bearer.expires - time.time()
            with anyio.move_on_after(min(lifetime, HEARTBEAT_SECONDS)) as idle:
                await wake.wait()
            if idle.cancelled_caught and lifetime > HEARTBEAT_SECONDS:
                is_read = await self._send(send, _COMMENT)
        return is_read

    async def _send(self, send: Send, events: bytes, *, more_body: bool = True) -> bool:
        """Return whether the client has read in time; the time is shorter while the platform stops."""
        with self._feed.send_timeout(SEND_TIMEOUT_SECONDS) as scope:
            await send({"type": "http.response.body", "body": events, "more_body": more_body})
        return not scope.cancelled_caught
