"""A stand-in for the Hub on loopback, which takes uploads as it does."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_standin0secret"


@dataclass
class Hub:
    """What was asked of it.

    Attributes:
        address: Where it is.
        models: Whether each model that was made is private, by name.
        files: What was uploaded, by path.
        requests: Methods and paths, in order.
        commits: What each commit put there, in order.
        open: Is waited for before a commit is taken.
        broken: Whether it refuses commits.
    """

    address: str = ""
    models: dict[str, bool] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    commits: list[dict[str, bytes]] = field(default_factory=list)
    open: threading.Event = field(default_factory=threading.Event)
    broken: bool = False

    def __post_init__(self) -> None:
        self.open.set()


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def _read(self) -> bytes:
            if self.headers.get("Transfer-Encoding") == "chunked":
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))

        def _answer(self, value: Any, status: int = 200) -> None:
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _serve(self) -> None:
            path = self.path.partition("?")[0]
            hub.requests.append(f"{self.command} {path}")
            body = self._read()
            if path == "/api/validate-yaml":
                self._answer({"errors": [], "warnings": []})
            elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
                self._answer({"error": "Invalid username or password."}, 401)
            elif path == "/api/repos/create":
                asked = json.loads(body)
                name = f"{asked.get('organization') or 'me'}/{asked['name']}"
                status = 409 if name in hub.models else 200
                hub.models.setdefault(name, asked.get("visibility") == "private" or asked.get("private") is True)
                self._answer({"url": f"{hub.address}/{name}"}, status)
            elif path.endswith("/preupload/main"):
                names = [file["path"] for file in json.loads(body)["files"]]
                files = [{"path": name, "uploadMode": "regular", "shouldIgnore": False, "oid": None} for name in names]
                self._answer({"files": files})
            elif path.endswith("/commit/main") and hub.broken:
                self._answer({"error": "There is no room left."}, 403)
            elif path.endswith("/commit/main"):
                hub.open.wait(60)
                files = [line["value"] for line in map(json.loads, body.splitlines()) if line["key"] == "file"]
                hub.commits.append({file["path"]: base64.b64decode(file["content"]) for file in files})
                hub.files |= hub.commits[-1]
                self._answer({"commitUrl": f"{hub.address}/me/m/commit/0", "commitOid": "0" * 40, "hookOutput": ""})
            elif path.startswith("/api/models/"):
                name = "/".join(path.split("/")[3:5])
                self._answer({"id": name, "private": hub.models[name], "sha": "0" * 40, "siblings": []})
            else:
                self._answer({"error": f"{path} is not there"}, 404)

        do_GET = do_POST = do_PUT = _serve  # noqa: N815 - what the base class calls

    return Handler


@contextmanager
def standin_hub() -> Iterator[Hub]:
    """A Hub with nothing on it, which lets in whoever has `TOKEN`."""
    hub = Hub()
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub)) as server:
        hub.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
