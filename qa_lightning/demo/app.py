"""The page's server: one page, and one place to ask.

The page is our own, on Starlette, which the server needs anyway, rather than on Gradio. Gradio (6.31) takes 83 MB and
requires two dozen packages, reports each start to its makers unless that is switched off, and has scripts written into
its page, so that no strict security policy can hold. A picture beside a context and a list of candidates would be
scripts of our own there, too.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from qa_lightning.demo.sample_questions import SampleQuestion, sample_questions
from qa_lightning.reader.reader import Reader
from qa_lightning.serving.bodies import BodyLimit
from qa_lightning.utils.errors import UserError
from qa_lightning.utils.html import content_policy, html_environment, read_resource, style_sheet

_PACKAGE = "qa_lightning.demo"

LONGEST_QUESTION = 1_000
"""Characters."""

LONGEST_CONTEXT = 100_000
"""Characters; some fifty pages."""

LARGEST_BODY = 1 << 20
"""Bytes of a request; more than the longest texts take."""

HEADERS = {
    "Content-Security-Policy": content_policy(frames=False, script="'self'", style="'self'", connect="'self'"),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""Sent with everything: whatever the page shows, nothing of it can run, and no other site can be asked."""


def make_app(reader: Reader, name: str, host: str, own: Sequence[SampleQuestion] = ()) -> Starlette:
    """The application that serves the page.

    Args:
        reader: What answers; its ``top_k`` says how many answers are listed.
        name: What the model is called on the page.
        host: The host that it is bound to, which browsers may call it by.
        own: Questions of the model's own data, which are offered before all others.
    """
    may_be_none = reader.settings.handle_impossible_answer
    page = (
        html_environment(_PACKAGE)
        .get_template("page.html.j2")
        .render(
            name=name,
            setup={
                "examples": [
                    {"question": sample.question, "context": sample.context} for sample in (*own, *sample_questions())
                ],
                "longestQuestion": LONGEST_QUESTION,
                "longestContext": LONGEST_CONTEXT,
            },
        )
    )
    style, script = style_sheet(_PACKAGE, "page.css"), read_resource(_PACKAGE, "page.js")

    async def ask(request: Request) -> Response:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            # A page of another site could send that unasked.
            raise HTTPException(415, "send JSON, with the header Content-Type: application/json")
        question, context = read_question(await request.body())
        try:
            found = await run_in_threadpool(answer, reader, question, context, may_be_none)
        except UserError as error:
            raise HTTPException(422, str(error)) from None
        return JSONResponse(found)

    async def show_page(_: Request) -> Response:
        return HTMLResponse(page)

    async def show_style(_: Request) -> Response:
        return Response(style, media_type="text/css")

    async def show_script(_: Request) -> Response:
        return Response(script, media_type="text/javascript")

    async def show_error(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)

    return Starlette(
        routes=[
            Route("/", show_page),
            Route("/page.css", show_style),
            Route("/page.js", show_script),
            Route("/ask", ask, methods=["POST"]),
        ],
        middleware=[
            Middleware(Guard, host=host),
            Middleware(BodyLimit, max_bytes=LARGEST_BODY, advice="shorten the context"),
        ],
        exception_handlers={HTTPException: show_error},
    )


def answer(reader: Reader, question: str, context: str, may_be_none: bool) -> dict[str, Any]:
    """All that the page shows of one question; places are in characters of the context, end exclusive.

    Returns:
        ``answers``, as a Reader lists them; ``null_probability``, None where there must be an answer; and ``tokens``
        with the ``spans`` of the context's tokens and how likely an answer ``starts`` and ``ends`` there.
    """
    prediction, answers, (spans, starts, ends) = reader.explain(question, context)
    null = prediction.answers.null if may_be_none else None
    return {
        "answers": answers,
        "null_probability": None if null is None else null.probability,
        "tokens": {
            "spans": spans.tolist(),
            "starts": np.round(starts, 6).tolist(),
            "ends": np.round(ends, 6).tolist(),
        },
    }


def read_question(body: bytes) -> tuple[str, str]:
    """The question and the context of a request's body.

    Raises:
        HTTPException: 422 where there are none, or one of them is too long.
    """
    try:
        record = json.loads(body)
    except (ValueError, RecursionError):
        raise HTTPException(422, "not JSON") from None
    if not isinstance(record, dict) or not all(isinstance(record.get(key), str) for key in ("question", "context")):
        raise HTTPException(422, 'expected {"question": "…", "context": "…"}')
    for key, longest in (("question", LONGEST_QUESTION), ("context", LONGEST_CONTEXT)):
        if not record[key].strip():
            raise HTTPException(422, f"The {key} is empty.")
        if len(record[key]) > longest:
            raise HTTPException(422, f"The {key} has {len(record[key]):,} characters; at most {longest:,} are read.")
    return record["question"], record["context"]


class Guard:
    """Puts `HEADERS` on every answer, and refuses requests under a name that is not this server's.

    Some other site's name could be made to lead here, and its pages would then count as ours (DNS rebinding). An
    address cannot, so that any address will do.

    Args:
        app: What is guarded.
        host: The host that the server is bound to.
    """

    def __init__(self, app: ASGIApp, host: str) -> None:
        self.app = app
        self.host = host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        app = self.app
        if scope["type"] == "http" and not is_own_name(Headers(scope=scope).get("host", ""), self.host):
            app = JSONResponse({"error": "this server goes by another name; open it by its address"}, 403)
        await app(scope, receive, send_with_headers)


def is_own_name(header: str, host: str) -> bool:
    """Whether a request's ``Host`` is an address, localhost, or the host that the server is bound to."""
    name = re.sub(r":\d*$", "", header).strip("[]").lower()
    if name in ("localhost", host.lower()):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
