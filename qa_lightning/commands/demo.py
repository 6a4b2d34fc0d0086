"""``demo``: a page in the browser on which to ask a model."""

from __future__ import annotations

import socket
import threading
import webbrowser
from contextlib import suppress
from pathlib import Path

from qa_lightning.commands.arguments import VerbParser
from qa_lightning.commands.asking import add_reader_flags, load_reader
from qa_lightning.errors import UserError
from qa_lightning.extras import need
from qa_lightning.pretrained import BEST_MODEL

LISTED = 5
"""Answers that the page lists, unless ``--top_k`` says otherwise."""


def run(arguments: list[str]) -> None:
    """Serves the page until Ctrl+C.

    Raises:
        UserError: The model cannot be loaded, the port is taken, or a package is not installed.
    """
    parser = VerbParser("demo", "Opens a page in the browser on which to ask a model; it needs no network.")
    parser.add_argument("--host", default="127.0.0.1", help="where to listen; default: 127.0.0.1, this computer only")
    parser.add_argument("--port", type=int, default=7860, metavar="N", help="0 takes any free one; default: 7860")
    parser.add_argument("--no_browser", action="store_true", help="only tell the address")
    add_reader_flags(parser, leave_out=("legacy",))
    options = parser.parse_args(arguments)
    uvicorn = need("uvicorn", "serve")
    need("starlette", "serve")
    with suppress(KeyboardInterrupt), listen(options.host, options.port) as listening:
        reader = load_reader(options, top_k=LISTED)
        # Imported here, since it needs the packages above.
        from qa_lightning.demo.app import make_app

        def started() -> None:
            url = address(listening)
            print(f"The page is at {url} (Ctrl+C ends it)", flush=True)
            if not options.no_browser:
                # Some browsers let nobody go on before they are closed.
                threading.Thread(target=webbrowser.open, args=[url], daemon=True).start()

        app = make_app(reader, shown_name(options.model), options.host, started)
        config = uvicorn.Config(app, log_level="warning", server_header=False, timeout_graceful_shutdown=5)
        uvicorn.Server(config).run(sockets=[listening])


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens, so that a browser may come before the server runs.

    Raises:
        UserError: The port is taken or none, or the host is none of this computer.
    """
    if not 0 <= port < 1 << 16:
        raise UserError(f"--port must be between 0 and {(1 << 16) - 1}, not {port}")
    try:
        family, _, _, _, place = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0]
        return socket.create_server((str(place[0]), port), family=family, backlog=128)
    except OSError as error:
        told = error.strerror or error
        raise UserError(f"cannot listen at {host}, port {port}: {told}; choose another --port or --host") from error


def address(listening: socket.socket) -> str:
    """The URL by which a browser of this computer finds a socket."""
    host, port = listening.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - such a socket listens at all
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def shown_name(model: str) -> str:
    """What a model is called on the page: a name on the Hub as it is, of a folder or file no more than its name."""
    path = Path(model)
    if not path.exists():
        return model
    path = path.resolve()
    return path.parent.name if path.name == BEST_MODEL else path.name
