"""Clients that do not talk as browsers do, by raw sockets: slow ones, those that leave, those that close their side."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from qa_lightning import Reader
from qa_lightning.demo.app import make_app as make_demo
from qa_lightning.serving import connections
from qa_lightning.serving.app import make_app as make_serve
from qa_lightning.serving.batching import Batcher
from qa_lightning.serving.limits import Limits
from qa_lightning.serving.run import bind_socket, make_server

SECONDS = 30.0
ASKED = {"question": "Who wrote the program?", "context": "Ada wrote the first program in London."}
PATHS = {"serve": "/predict", "demo": "/ask"}


@pytest.fixture(params=list(PATHS))
def server(request: pytest.FixtureRequest, reader: Reader) -> Iterator[tuple[int, str]]:
    """The port of a server that runs, and where it is asked."""
    with Batcher(reader) as batcher:
        app = make_serve(batcher, "tiny", Limits()) if request.param == "serve" else make_demo(reader, "t", "127.0.0.1")
        with running(app) as port:
            yield port, PATHS[request.param]


@contextmanager
def running(app: Any) -> Iterator[int]:
    made = make_server(app)
    with bind_socket("127.0.0.1", 0) as sock:
        sock.listen()
        thread = threading.Thread(target=lambda: asyncio.run(made.serve([sock])))
        thread.start()
        yield sock.getsockname()[1]
        made.should_exit = True
        thread.join(SECONDS)
    assert not thread.is_alive()


def request(path: str, body: bytes | None = None, *, close: bool = False) -> bytes:
    body = json.dumps(ASKED).encode() if body is None else body
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*lines, *(["Connection: close"] * close), "", ""]).encode() + body


def exchange(port: int, *parts: bytes, half_close: bool = False, pause: float = 0.0) -> bytes:
    """All that a server answers until it closes the connection."""
    with socket.create_connection(("127.0.0.1", port), SECONDS) as client:
        for part in parts:
            client.sendall(part)
            time.sleep(pause)
        if half_close:
            client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(1 << 16), b""))


def answers(response: bytes) -> list[Any]:
    """The bodies of the responses of one connection, all of them of status 200."""
    found = []
    while response:
        head, _, rest = response.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), response
        length = int(head.lower().partition(b"content-length: ")[2].split()[0])
        found.append(json.loads(rest[:length]))
        response = rest[length:]
    return found


def test_who_closes_its_side_after_asking_is_answered(server: tuple[int, str]) -> None:
    port, path = server
    expected = answers(exchange(port, request(path, close=True)))
    assert len(expected) == 1
    assert answers(exchange(port, request(path), half_close=True)) == expected
    # Also where more than one request was sent before.
    assert answers(exchange(port, request(path) * 3, half_close=True)) == expected * 3


@pytest.mark.parametrize("leaves", [socket.socket.close, lambda client: client.shutdown(socket.SHUT_WR)])
def test_who_leaves_in_mid_body_or_mid_header_is_no_news(
    leaves: Callable[[socket.socket], Any], server: tuple[int, str], caplog: pytest.LogCaptureFixture
) -> None:
    port, path = server
    with caplog.at_level(logging.WARNING):
        for part in (request(path)[:-5], request(path)[:20], b"", request(path, b"x" * 100_000)[:90_000]):
            with socket.create_connection(("127.0.0.1", port), SECONDS) as client:
                client.sendall(part)
                time.sleep(0.05)
                leaves(client)
                if client.fileno() >= 0:
                    assert client.recv(1000) == b""
        assert len(answers(exchange(port, request(path, close=True)))) == 1
    assert caplog.records == []


def test_headers_that_do_not_come_are_not_waited_for(server: tuple[int, str], monkeypatch: pytest.MonkeyPatch) -> None:
    port, path = server
    monkeypatch.setattr(connections, "SECONDS", 0.3)
    assert exchange(port) == b""
    assert exchange(port, request(path)[:30]) == b""
    # One that never stops sending a little, until that is not taken any more.
    with pytest.raises(ConnectionError):
        exchange(
            port, *(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X-More: yes\r\n" * 1000).splitlines(True), pause=0.05
        )
    # A second request is waited for no longer.
    whole = request(path)
    first, *others = exchange(port, whole, whole[:20], pause=0.2).split(b"HTTP/1.1 ")[1:]
    assert (first[:3], others) == (b"200", [])


def test_a_request_that_has_come_has_all_the_time_that_it_takes(
    server: tuple[int, str], reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, path = server
    monkeypatch.setattr(connections, "SECONDS", 0.2)
    score = reader.runner.__call__

    class Slow:
        longest, device = reader.runner.longest, reader.runner.device

        def __call__(self, batch: Any) -> Any:
            time.sleep(0.6)
            return score(batch)

    monkeypatch.setattr(reader, "runner", Slow())
    assert len(answers(exchange(port, request(path), half_close=True))) == 1
