"""``demo``: a page in the browser on which to ask a model."""

from __future__ import annotations

import threading
import webbrowser

from qa_lightning.cli.arguments import VerbParser
from qa_lightning.cli.reader_flags import add_reader_flags, load_reader, warnings_in_lines
from qa_lightning.runs.folder import display_name
from qa_lightning.utils.extras import require

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
    parser.add_argument("--no_browser", action="store_true", help="only print the address")
    add_reader_flags(parser, leave_out=("legacy",))
    options = parser.parse_args(arguments)
    for module in ("starlette", "uvicorn"):
        require(module, "serve")
    # Imported here, since they need these packages.
    from qa_lightning.demo.app import make_app
    from qa_lightning.demo.sample_questions import own_questions
    from qa_lightning.serving.run import bind_socket, run_app

    def ready(address: str) -> None:
        print(f"The page is at {address} (Ctrl+C ends it)", flush=True)
        if not options.no_browser:
            # Some browsers let nobody go on before they are closed.
            threading.Thread(target=webbrowser.open, args=[address], daemon=True).start()

    with warnings_in_lines(), bind_socket(options.host, options.port) as sock:
        reader = load_reader(options, top_k=LISTED)
        own = own_questions(options.model)
        run_app(make_app(reader, display_name(options.model), options.host, own), sock, ready)
