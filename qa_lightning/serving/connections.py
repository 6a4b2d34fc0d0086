"""A client's connection: how long it may take to ask, and what becomes of one that has said all it has to say."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

SECONDS = 10.0
"""How long a client may take to send the first line and the headers of a request, or nothing at all."""


class Connection(H11Protocol):
    """uvicorn's connection, which closes where no request comes, and answers clients that close their side.

    A client that has sent its request may say that there will be no other (TCP's half-close), as ``nc -N`` and many
    scripts do. To uvicorn that is one that has gone. A client that has really gone looks the same until it is written
    to: its answer is worked out, and then nobody takes it.
    """

    _timer: asyncio.TimerHandle | None = None
    _has_said_all = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begins to wait for a request."""
        super().connection_made(transport)
        self._limit_waiting()

    def data_received(self, data: bytes) -> None:
        """Reads on; a request that trickles in has no more time than one that comes at once."""
        super().data_received(data)
        self._limit_waiting()

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Stays open where there is a whole request to answer."""
        self._has_said_all = self._is_asked() and not self.cycle.more_body
        return self._has_said_all

    def on_response_complete(self) -> None:
        """Goes on with what was asked meanwhile, and closes where nothing can follow."""
        super().on_response_complete()
        if self._has_said_all and not self._is_asked():
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Waits for nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def _is_asked(self) -> bool:
        """Whether a request has begun that is not answered yet."""
        return self.cycle is not None and not self.cycle.response_complete

    def _limit_waiting(self) -> None:
        if self._is_asked():
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        elif self._timer is None:
            self._timer = self.loop.call_later(SECONDS, self.transport.close)
