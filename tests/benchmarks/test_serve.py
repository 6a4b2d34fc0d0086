"""The benchmark of the server: it gives figures, and finds answers that are not the Reader's."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from benchmarks import serve
from benchmarks.models import TINY
from tests.benchmarks.children import in_fork


class Echo(BaseHTTPRequestHandler):
    """Answers each request with what it says, or refuses it."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(json.loads(body)["status"])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def echo() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def answer(**changed: Any) -> dict[str, Any]:
    return {"status": 200, "score": 0.5, "start": 1, "end": 2, "answer": "a"} | changed


def test_wrong_answers_and_failures_are_listed(echo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "CLIENTS", 5)
    said = [answer(), answer(score=0.50001), answer(score=0.6), answer(end=3), answer(status=422)]
    cases = tmp_path / "cases.json"
    cases.write_text(json.dumps([said, [answer()] * 5]))
    figures = serve.load(echo, "0.05", str(cases))
    assert set(figures["wrong"]) == {2, 3}
    assert set(figures["failed"]) == {str(answer(status=422))}
    assert len(figures["milliseconds"]) > len(figures["wrong"]) + len(figures["failed"])
    assert figures["seconds"] >= 0.05


@pytest.mark.slow
def test_a_server_is_measured_beside_its_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "in_child", in_fork)
    rows = serve.measure(serve.Plan(TINY, 20, 0.5))
    assert [row.benchmark for row in rows] == ["serve"] * 4
    assert all(math.isfinite(row.figure) for row in rows)
    assert rows[0].peer is not None
    assert rows[0].figure > 0
    assert 0 < rows[1].figure <= rows[2].figure
    assert (rows[3].figure, rows[3].met, rows[3].note) == (0, True, "")
