"""A server's beginning and end: the port and the signals."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from contextlib import ExitStack

import uvicorn
from starlette.types import ASGIApp

from qa_lightning.serving.connections import Connection
from qa_lightning.utils.errors import UserError

MOST_CONNECTIONS = 512
"""Clients that are connected at the same time; those beyond are asked to come again (status 503)."""

SECONDS_TO_STOP = 30
"""How long requests that are being answered may take when a server is stopped."""


def bind_socket(host: str, port: int) -> socket.socket:
    """Binds a socket; does not listen yet.

    Args:
        host: A name or an address of this machine.
        port: The port; 0: one that is free.

    Raises:
        UserError: Where the address cannot be had.
    """
    if not 0 <= port < 1 << 16:
        raise UserError(f"there is no port {port}; choose another --port, up to 65535")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with ExitStack() as stack:
            sock = stack.enter_context(socket.socket(family, kind, protocol))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            stack.pop_all()
    except (OSError, UnicodeError) as error:
        raise UserError(f"cannot listen on {host}, port {port} ({error}); choose another --port or --host") from None
    return sock


def address(sock: socket.socket) -> str:
    """The URL by which a browser of this machine finds what listens on a socket."""
    host, port = sock.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - such a socket listens at all
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def make_server(app: ASGIApp) -> uvicorn.Server:
    """Makes a server of uvicorn, with our limits.

    Args:
        app: What answers.
    """
    config = uvicorn.Config(
        app,
        http=Connection,
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_graceful_shutdown=SECONDS_TO_STOP,
    )
    return uvicorn.Server(config)


def run_app(app: ASGIApp, sock: socket.socket, ready: Callable[[str], None]) -> None:
    """Serves until the process is asked to stop, by SIGINT (Ctrl-C) or SIGTERM.

    Requests that have come in by then are answered, and new connections are refused. A second SIGINT does not wait.

    Args:
        app: What answers.
        sock: What `bind_socket` returned; it is closed in the end.
        ready: Called with the address when it can be asked.

    Raises:
        UserError: Where another process has come to listen on its address.
    """
    server = make_server(app)
    # Having stopped, uvicorn raises the signal again, for whoever handled it before; that must not end the process.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, server.handle_exit)
    with sock:
        try:
            sock.listen()
        except OSError as error:
            host, port = sock.getsockname()[:2]
            raise UserError(f"cannot listen on {host}, port {port} ({error}); choose another --port") from None
        ready(address(sock))
        server.run(sockets=[sock])
