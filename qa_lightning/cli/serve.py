"""``serve``: answers over HTTP with a model."""

from __future__ import annotations

from qa_lightning.cli.arguments import VerbParser
from qa_lightning.cli.reader_flags import add_reader_flags, load_reader, warnings_in_lines
from qa_lightning.runs.folder import display_name
from qa_lightning.serving.limits import Limits
from qa_lightning.utils.extras import need


def run(arguments: list[str]) -> None:
    """Serves until it is stopped.

    Raises:
        UserError: Where the extra is missing, the model cannot be loaded, or the port is taken.
    """
    parser = VerbParser("serve", "Answers questions over HTTP; its page at /docs tells how to ask.")
    add_reader_flags(parser, leave_out=("legacy",))
    group = parser.add_argument_group("the server")
    group.add_argument("--host", default="127.0.0.1", help="the address to listen on; default: 127.0.0.1, this machine")
    group.add_argument("--port", type=int, metavar="N", default=8000, help="0: one that is free; default: 8000")
    for name, told in (
        ("max_body_bytes", "bytes of a request"),
        ("max_context_characters", "characters of a context, or a question"),
        ("max_questions", "questions of a request"),
    ):
        default = getattr(Limits, name)
        told = f"{told} at most; default: {default:,}"
        group.add_argument(f"--{name}", type=int, metavar="N", default=default, help=told)
    options = parser.parse_args(arguments)
    limits = Limits(options.max_body_bytes, options.max_context_characters, options.max_questions)
    for module in ("fastapi", "uvicorn"):
        need(module, "serve")
    # Imported here, since they take seconds that --help and a mistake need not wait for.
    from qa_lightning.serving.app import make_app
    from qa_lightning.serving.batching import Batcher
    from qa_lightning.serving.run import bound, run_app

    def ready(address: str) -> None:
        print(f"It answers at {address} and is described at {address}/docs (Ctrl+C ends it)", flush=True)

    with warnings_in_lines(), bound(options.host, options.port) as sock:
        reader = load_reader(options)
        # What cannot work with this model is told now, and nobody's request is the slow first one.
        reader(question="Is anybody there?", context="Nobody has asked before.")
        with Batcher(reader) as batcher:
            run_app(make_app(batcher, display_name(options.model), limits), sock, ready)
