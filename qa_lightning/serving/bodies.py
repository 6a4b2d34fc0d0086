"""What a server accepts as the body of a request: so many bytes, in so many seconds."""

from __future__ import annotations

import asyncio

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS = 20.0
"""How long a client may take to send a body."""

CLIENT_HAS_GONE = 499
"""The status of a request whose client has gone, which nobody receives; nginx's."""


class BodyLimit:
    """Refuses long bodies, whether or not their length is announced, and clients that never finish theirs.

    Args:
        app: What reads the bodies.
        max_bytes: Bytes of a body at most.
        advice: What to do about a body of more.
        seconds: How long a body may take to arrive.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, advice: str, seconds: float = SECONDS) -> None:
        self.app = app
        self.max_bytes = max_bytes
        self.advice = advice
        self.seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hands a request on, its body counted while it is read."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        announced = dict(scope["headers"]).get(b"content-length", b"")
        deadline = asyncio.get_running_loop().time() + self.seconds
        seen, whole = 0, False

        async def counted() -> Message:
            nonlocal seen, whole
            if whole:
                return await receive()
            # Looked at before anything is read, so that a client that asks first need not send it.
            self._check(int(announced) if announced.isdigit() else 0)
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, f"the body did not arrive within {self.seconds:g} s") from None
            if message["type"] == "http.disconnect":
                raise HTTPException(CLIENT_HAS_GONE, "the client has gone")
            seen += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            self._check(seen)
            return message

        return await self.app(scope, counted, send)

    def _check(self, size: int) -> None:
        if size > self.max_bytes:
            raise HTTPException(413, f"the body has more than {self.max_bytes:,} bytes; {self.advice}")
