"""The routes of a server: what is asked is checked, answered by a `Batcher`, and refused in one line."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import asdict
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from starlette.middleware.trustedhost import TrustedHostMiddleware

from qa_lightning import __version__
from qa_lightning.reader.document_inputs import asks_documents, read_documents
from qa_lightning.reader.inputs import read_pairs
from qa_lightning.serving.batching import Batcher
from qa_lightning.serving.bodies import CLIENT_HAS_GONE, BodyLimit
from qa_lightning.serving.docs import CONTENT_POLICY, docs_page
from qa_lightning.serving.limits import Limits
from qa_lightning.serving.messages import ErrorResponse, Health, PredictRequest, PredictResponse
from qa_lightning.utils.errors import UserError

OWN_HOSTS = ("localhost", "127.0.0.1", "[::1]")
"""Host names that mean the machine itself, by which any server may be called."""

_PROBLEMS = {
    400: "The body is not JSON.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    422: "What is asked cannot be answered as it is, or is more than the server takes.",
    500: "The server has failed at this request.",
}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorResponse, "description": description} for status, description in _PROBLEMS.items()
}


def make_app(batcher: Batcher, model: str, limits: Limits, hosts: Sequence[str] = ()) -> FastAPI:
    """Makes the application that uvicorn runs.

    Args:
        batcher: What answers; it must be running while requests come in.
        model: What to call the model.
        limits: What a request may bring.
        hosts: Host names by which requests may call this server, besides those of the machine itself; ``*``: any.
    """
    app = FastAPI(
        title=f"{model}, a question-answering model",
        version=__version__,
        description=(
            f"A request has at most {limits.max_body_bytes:,} bytes, {limits.max_questions:,} questions and "
            f"{limits.max_contexts:,} contexts that are read together, a context at most "
            f"{limits.max_context_characters:,} characters."
        ),
        docs_url=None,  # FastAPI's page is loaded from another site
        redoc_url=None,
    )
    app.add_middleware(
        BodyLimit, max_bytes=limits.max_body_bytes, advice="send fewer questions, or raise --max_body_bytes"
    )
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*OWN_HOSTS, *hosts], www_redirect=False)
    app.add_exception_handler(UserError, _refuse)
    app.add_exception_handler(RequestValidationError, _refuse)
    app.add_exception_handler(Exception, _admit)
    settings = batcher.reader.settings

    @app.post("/predict", responses=_RESPONSES, response_description="The answers.")
    async def predict(asked: PredictRequest, request: Request) -> PredictResponse:
        """Answers a question, or several."""
        call_settings = settings.updated(asked.settings())
        if asks_documents(asked.inputs, asked.contexts):
            documents, form = read_documents(asked.inputs, asked.question, asked.context, asked.contexts)
            waiting = [batcher.ask_documents(each, call_settings) for each in limits.check_documents(documents)]
        else:
            pairs, form = read_pairs(asked.inputs, asked.question, asked.context)
            few = limits.check(pairs)
            waiting = [batcher.ask(few, call_settings)] if few else []
        answers = await _answers(waiting, request)
        return answers[0] if form == "one" else answers

    @app.get("/health", response_description="The server runs.")
    async def health() -> Health:
        """Says that the server runs, and how it answers."""
        return Health(status="ok", model=model, settings=asdict(settings))

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(docs_page(app.openapi()), headers={"Content-Security-Policy": CONTENT_POLICY})

    @app.get("/", include_in_schema=False)
    async def root() -> RedirectResponse:
        # Relative, so that a proxy may put the server into a folder.
        return RedirectResponse("docs")

    return app


async def _answers(waiting: Sequence[Future[list[Any]]], request: Request) -> list[Any]:
    """The answers, as long as there is a client that waits for them."""
    if not waiting:
        return []
    answers = asyncio.ensure_future(_joined([asyncio.wrap_future(each) for each in waiting]))
    # The body has been read, so that the only news there can be is that the client has gone.
    gone = asyncio.ensure_future(request.receive())
    either: set[asyncio.Future[Any]] = {answers, gone}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    gone.cancel()
    for each in waiting:
        each.cancel()  # those that nobody waits for any more: the client has gone, or another one has failed
    if not answers.done():
        answers.cancel()
        raise HTTPException(CLIENT_HAS_GONE, "the client has gone")
    return answers.result()


async def _joined(lists: Sequence[asyncio.Future[list[Any]]]) -> list[Any]:
    return [answer for each in lists for answer in await each]


def _refuse(_: Request, error: Exception) -> JSONResponse:
    if isinstance(error, RequestValidationError):
        status, line = _status_and_line(error.errors()[0])
        return JSONResponse({"detail": line}, status)
    return JSONResponse({"detail": str(error)}, 422)


def _admit(_: Request, error: Exception) -> JSONResponse:
    """Answers where the server itself has failed; uvicorn prints the traceback on the server."""
    return JSONResponse({"detail": "the server has failed at this request; its log has more"}, 500)


def _status_and_line(mistake: Any) -> tuple[int, str]:
    """The status and the line for what FastAPI and pydantic found."""
    kind, where, message = mistake["type"], mistake["loc"], mistake["msg"]
    if kind == "json_invalid":
        return 400, f"the body is not JSON: {mistake['ctx']['error']} at character {where[-1]}"
    if len(where) == 1:
        return 422, "the body must be a JSON object, sent with the header Content-Type: application/json"
    if kind == "extra_forbidden":
        return 422, f"unknown key {where[-1]!r:.40}; there are {', '.join(PredictRequest.model_fields)}"
    return 422, f"{where[-1]}: {message[0].lower()}{message[1:]}"
