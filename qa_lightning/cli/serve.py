"""``serve``: answers over HTTP with a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from qa_lightning.cli.arguments import VerbParser
from qa_lightning.cli.reader_flags import add_reader_flags, load_reader, warnings_in_lines
from qa_lightning.runs.folder import display_name
from qa_lightning.serving.limits import Limits
from qa_lightning.utils.errors import UserError
from qa_lightning.utils.extras import require


def run(arguments: list[str]) -> None:
    """Serves until it is stopped.

    Raises:
        UserError: Where the extra is missing, the model cannot be loaded, or the port is taken.
    """
    parser = VerbParser("serve", "Answers questions over HTTP; its page at /docs describes how to ask.")
    add_reader_flags(parser, leave_out=("legacy",))
    group = parser.add_argument_group("the server")
    group.add_argument("--host", default="127.0.0.1", help="the address to listen on; default: 127.0.0.1, this machine")
    group.add_argument("--port", type=int, metavar="N", default=8000, help="0: one that is free; default: 8000")
    group.add_argument(
        "--allowed_hosts",
        metavar="NAME",
        nargs="+",
        default=[],
        help="host names by which requests may call the server, besides --host, localhost and this machine's own "
        "addresses 127.0.0.1 and [::1]; * allows any; *.example.com allows all of a domain",
    )
    for name, description in (
        ("max_body_bytes", "bytes of a request"),
        ("max_context_characters", "characters of a context, or a question"),
        ("max_questions", "questions of a request"),
        ("max_contexts", "contexts of a request's questions, those of each question counted"),
    ):
        default = getattr(Limits, name)
        description = f"{description} at most; default: {default:,}"
        group.add_argument(f"--{name}", type=int, metavar="N", default=default, help=description)
    options = parser.parse_args(arguments)
    _check_hosts(options.allowed_hosts)
    limits = Limits(**{field.name: getattr(options, field.name) for field in fields(Limits)})
    for module in ("fastapi", "uvicorn"):
        require(module, "serve")
    # Imported here, since they take seconds that --help and a mistake need not wait for.
    from qa_lightning.serving.app import make_app
    from qa_lightning.serving.batching import Batcher
    from qa_lightning.serving.run import bind_socket, run_app

    def ready(address: str) -> None:
        print(f"It answers at {address} and is described at {address}/docs (Ctrl+C ends it)", flush=True)

    with warnings_in_lines(), bind_socket(options.host, options.port) as sock:
        reader = load_reader(options)
        # What cannot work with this model is refused now, and nobody's request is the slow first one.
        reader(question="Is anybody there?", context="Nobody has asked before.")
        with Batcher(reader) as batcher:
            hosts = [_as_in_a_header(options.host), *options.allowed_hosts]
            run_app(make_app(batcher, display_name(options.model), limits, hosts), sock, ready)


def _check_hosts(patterns: Sequence[str]) -> None:
    """Refuses patterns that no host name could match."""
    for pattern in patterns:
        name = pattern.removeprefix("*.")
        if pattern != "*" and (not name or "*" in name or "/" in name):
            raise UserError(f"--allowed_hosts {pattern}: give a host name, as in qa.example.com, *.example.com, or *")


def _as_in_a_header(host: str) -> str:
    """A host as requests name it: an address of IPv6 stands in brackets there."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host
