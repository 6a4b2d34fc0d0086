"""The routes, asked as a client asks: good requests, bad ones, and many at the same time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from qa_lightning import Reader
from qa_lightning.reader.documents import DocumentPair
from qa_lightning.reader.ensemble import Ensemble
from qa_lightning.reader.inputs import Pair
from qa_lightning.serving import batching
from qa_lightning.serving.app import make_app
from qa_lightning.serving.batching import Batcher
from qa_lightning.serving.bodies import BodyLimit
from qa_lightning.serving.limits import DocumentRequest, Limits
from qa_lightning.utils.errors import UserError
from tests.report.chromium import chromium
from tests.tiny import PASSAGES

LIMITS = Limits(max_body_bytes=2000, max_context_characters=300, max_questions=5, max_contexts=12)
PAIRS = [(question, context) for context, asked in PASSAGES for question, _ in asked]
QUESTION, CONTEXT = PAIRS[0]


@pytest.fixture(scope="module")
def app(reader: Reader) -> Iterator[FastAPI]:
    with Batcher(reader) as batcher:
        yield make_app(batcher, "tiny", LIMITS)


Client = httpx.AsyncClient


def ask(app: FastAPI, talk: Callable[[Client], Awaitable[Any]]) -> Any:
    """What comes of talking to the application."""

    async def main() -> Any:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with Client(transport=transport, base_url="http://localhost") as client:
            return await talk(client)

    return asyncio.run(main())


def post(app: FastAPI, **request: Any) -> httpx.Response:
    return ask(app, lambda client: client.post("/predict", **request))


def predict(app: FastAPI, **body: Any) -> Any:
    response = post(app, json=body)
    assert response.status_code == 200, response.text
    return response.json()


def problem(response: httpx.Response, status: int) -> str:
    """The one line that a request is refused with."""
    assert response.status_code == status, response.text
    assert list(response.json()) == ["detail"]
    line = response.json()["detail"]
    assert isinstance(line, str)
    assert "\n" not in line
    assert "Traceback" not in line
    return line


def alike(answers: Any) -> Any:
    """The same answers, whose scores may differ as far as a batch of another shape makes them."""
    if isinstance(answers, list):
        return [alike(answer) for answer in answers]
    places = {"places": alike(answers["places"])} if "places" in answers else {}
    return answers | places | {"score": pytest.approx(answers["score"], abs=1e-5)}


def test_answers_are_the_readers_in_every_form(app: FastAPI, reader: Reader) -> None:
    questions, contexts = [list(texts) for texts in zip(*PAIRS[:5], strict=True)]
    records = [{"question": question, "context": context} for question, context in PAIRS[:5]]
    for asked in (
        {"question": QUESTION, "context": CONTEXT},
        {"question": questions, "context": contexts},
        {"question": questions, "context": CONTEXT},
        {"question": QUESTION, "context": contexts},
        {"question": [QUESTION], "context": [CONTEXT]},
        {"inputs": records[0]},
        {"inputs": records},
        {"inputs": []},
    ):
        assert predict(app, **asked) == alike(reader(**asked)), asked


CONTEXTS = [context for context, _ in PASSAGES]


def test_answers_from_documents_are_the_readers_in_every_form(app: FastAPI, reader: Reader) -> None:
    questions = [question for question, _ in PAIRS[:3]]
    named = dict(zip(["a", "b", "c"], CONTEXTS, strict=True))
    record = {"question": QUESTION, "contexts": CONTEXTS}
    for asked in (
        {"question": QUESTION, "contexts": CONTEXTS},
        {"question": QUESTION, "contexts": CONTEXTS, "top_k": 3},
        {"question": QUESTION, "contexts": named, "handle_impossible_answer": True, "top_k": 9},
        {"question": questions, "contexts": CONTEXTS[1:]},
        {"question": [], "contexts": CONTEXTS},
        {"inputs": record},
        {"inputs": [record, {"question": "Where?", "contexts": named}], "top_k": 2},
        {"question": QUESTION, "contexts": CONTEXTS[:1], "context": None},
    ):
        assert predict(app, **asked) == alike(reader(**asked)), asked
    null = {"handle_impossible_answer": True, "question": "zz", "contexts": ["zz"]}
    assert predict(app, **null) == alike(reader(**null))


def test_requests_about_documents_and_others_are_answered_together(app: FastAPI, reader: Reader) -> None:
    cases = [
        {"question": question, **of, **settings}
        for question, context in PAIRS
        for of in ({"context": context}, {"contexts": CONTEXTS}, {"contexts": CONTEXTS[::-1]})
        for settings in ({}, {"top_k": 2}, {"max_answer_len": 1})
    ]

    async def talk(client: Client) -> list[Any]:
        bad = {"question": QUESTION, "contexts": [CONTEXT, " "]}
        responses = await asyncio.gather(*(client.post("/predict", json=case) for case in [*cases, bad]))
        assert "the document number 1 is empty" in problem(responses.pop(), 422)
        return [response.json() for response in responses]

    assert ask(app, talk) == alike([reader(**case) for case in cases])


def test_an_ensemble_reads_the_documents_of_a_request_twice(reader: Reader) -> None:
    ensemble = Reader(Ensemble([reader, reader]))
    with Batcher(ensemble) as batcher:
        app = make_app(batcher, "both", LIMITS)
        asked = {"question": ["Who wrote?", "Where?"], "contexts": CONTEXTS, "top_k": 3}
        assert predict(app, **asked) == alike(ensemble(**asked))


def test_settings_may_come_with_a_request(app: FastAPI, reader: Reader) -> None:
    for settings in (
        {"top_k": 3},
        {"max_answer_len": 1},
        {"handle_impossible_answer": True, "top_k": 4},
        {"align_to_words": False},
    ):
        asked = {"question": QUESTION, "context": CONTEXT, **settings}
        assert predict(app, **asked) == alike(reader(**asked)), asked
    asked = {"question": QUESTION, "context": CONTEXT}
    assert predict(app, **asked, top_k=None, max_answer_len=None) == alike(reader(**asked))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "no questions"),
        ({"question": QUESTION}, "context is missing"),
        ({"question": 1, "context": CONTEXT}, "question is int, not a text"),
        ({"question": [1], "context": CONTEXT}, "question 1: its question is 1, not a text"),
        ({"question": " ", "context": CONTEXT}, "its question is empty"),
        ({"question": QUESTION, "context": ""}, "its context is empty"),
        ({"question": ["a", "b"], "context": ["c"]}, "2 questions and 1 contexts"),
        ({"question": QUESTION, "context": CONTEXT, "inputs": []}, "given twice"),
        ({"inputs": "text"}, "questions cannot be read from str"),
        ({"inputs": [1]}, "question 1 is int, not a record"),
        ({"inputs": {"question": QUESTION}}, "no 'context'; it has 'question'"),
        ({"question": QUESTION, "context": CONTEXT, "topk": 2}, "unknown key 'topk'; there are question, context"),
        ({"question": QUESTION, "context": CONTEXT, "n_best_size": 2}, "unknown key 'n_best_size'"),
        ({"question": QUESTION, "context": CONTEXT, "top_k": 0}, "top_k: input should be greater than or equal to 1"),
        ({"question": QUESTION, "context": CONTEXT, "top_k": 101}, "top_k: input should be less than or equal to 100"),
        ({"question": QUESTION, "context": CONTEXT, "top_k": "2"}, "top_k: input should be a valid integer"),
        ({"question": QUESTION, "context": CONTEXT, "top_k": True}, "top_k: input should be a valid integer"),
        ({"question": QUESTION, "context": CONTEXT, "max_answer_len": 1.5}, "max_answer_len: input should be"),
        ({"question": QUESTION, "context": CONTEXT, "align_to_words": 1}, "align_to_words: input should be"),
        ({"question": "a" * 301, "context": CONTEXT}, "question 1: its question has 301 characters, and 300 are"),
        ({"question": QUESTION, "context": [CONTEXT, "a" * 301]}, "question 2: its context has 301 characters"),
        ({"question": ["a"] * 6, "context": CONTEXT}, "more than 5 questions in one request (--max_questions)"),
        ({"question": QUESTION, "contexts": []}, "contexts is empty"),
        ({"question": QUESTION, "contexts": CONTEXT}, "contexts is one text; give it as context"),
        ({"question": QUESTION, "contexts": 3}, "contexts is int"),
        ({"question": QUESTION, "contexts": [CONTEXT], "context": CONTEXT}, "context and contexts are both given"),
        ({"contexts": [CONTEXT]}, "question is missing"),
        (
            {"question": QUESTION, "contexts": ["a"] * 13},
            "more than 12 contexts in one request, those of each question",
        ),
        ({"question": ["a"] * 5, "contexts": ["a"] * 3}, "more than 12 contexts in one request"),
        ({"question": ["a"] * 6, "contexts": ["a"]}, "more than 5 questions in one request (--max_questions)"),
        ({"inputs": [{"question": "a", "contexts": ["a"] * 7}] * 2}, "more than 12 contexts in one request"),
        ({"question": QUESTION, "contexts": ["a", "a" * 301]}, "the context number 1 has 301 characters, and 300 are"),
        ({"question": "a" * 301, "contexts": ["a"]}, "a question has 301 characters, and 300 are the most allowed"),
        ([1], "must be a JSON object"),
    ],
)
def test_what_cannot_be_answered_is_refused(app: FastAPI, body: Any, message: str) -> None:
    assert message in problem(post(app, json=body), 422)
    predict(app, question=QUESTION, context=CONTEXT)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"question":', "the body is not JSON: Expecting value at character 12"),
        (b'{"question": "\xff", "context": "c"}', "parsing the body"),
        (b"[" * 1999, "parsing the body"),
    ],
)
def test_what_is_not_json_is_refused(app: FastAPI, content: bytes, message: str) -> None:
    response = post(app, content=content, headers={"Content-Type": "application/json"})
    assert message in problem(response, 400)


def test_half_a_surrogate_pair_is_refused(app: FastAPI) -> None:
    content = b'{"question": "who\\ud800", "context": "c"}'
    response = post(app, content=content, headers={"Content-Type": "application/json"})
    assert "half a surrogate pair" in problem(response, 422)


def test_what_is_not_said_to_be_json_is_refused(app: FastAPI) -> None:
    content = json.dumps({"question": QUESTION, "context": CONTEXT})
    response = post(app, content=content, headers={"Content-Type": "text/plain"})
    assert "Content-Type: application/json" in problem(response, 422)


def test_a_body_may_have_as_many_bytes_as_allowed_and_no_more(app: FastAPI) -> None:
    body = json.dumps({"question": QUESTION, "context": CONTEXT}).encode()
    for more, status in ((0, 200), (1, 413)):
        content = body + b" " * (LIMITS.max_body_bytes - len(body) + more)
        response = post(app, content=content, headers={"Content-Type": "application/json"})
        assert response.status_code == status
    assert "more than 2,000 bytes; send fewer questions, or raise --max_body_bytes" in problem(response, 413)


def test_a_body_of_unstated_length_is_counted(app: FastAPI) -> None:
    sent = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1000):
            sent += 100
            yield b" " * 100

    async def talk(client: Client) -> httpx.Response:
        return await client.post("/predict", content=chunks(), headers={"Content-Type": "application/json"})

    problem(ask(app, talk), 413)
    assert sent == 2100


def test_a_stated_length_is_refused_unread(app: FastAPI) -> None:
    async def talk(client: Client) -> httpx.Response:
        async def unread() -> AsyncIterator[bytes]:
            raise AssertionError("the body was read")
            yield b""

        headers = {"Content-Type": "application/json", "Content-Length": "2001"}
        return await client.post("/predict", content=unread(), headers=headers)

    problem(ask(app, talk), 413)


def test_a_body_that_does_not_arrive_is_given_up(app: FastAPI) -> None:
    slow = FastAPI()
    slow.add_middleware(BodyLimit, max_bytes=100, advice="", seconds=0.05)

    @slow.post("/predict")
    async def _(body: dict[str, Any]) -> None: ...

    async def never() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(30)

    headers = {"Content-Type": "application/json"}
    assert "did not arrive within 0.05 s" in problem(post(slow, content=never(), headers=headers), 408)


def test_many_clients_get_their_own_answers(app: FastAPI, reader: Reader) -> None:
    cases = [
        {"question": f"{question} {word}", "context": f"{word} {context}", **settings}
        for question, context in PAIRS
        for word in ("ada", "grace", "alan")
        for settings in ({}, {"top_k": 2}, {"handle_impossible_answer": True}, {"max_answer_len": 1})
    ]

    async def talk(client: Client) -> list[Any]:
        return await asyncio.gather(*(client.post("/predict", json=case) for case in cases))

    answers = [response.json() for response in ask(app, talk)]
    expected = [reader(**case) for case in cases]
    assert answers == alike(expected)
    assert len({json.dumps(answer) for answer in expected}) > len(cases) / 2


def test_bad_requests_among_good_ones_do_not_harm_them(app: FastAPI, reader: Reader) -> None:
    good = {"question": QUESTION, "context": CONTEXT}

    async def talk(client: Client) -> list[Any]:
        bad = {"question": QUESTION, "context": " "}
        return await asyncio.gather(*(client.post("/predict", json=bad if i % 2 else good) for i in range(20)))

    for number, response in enumerate(ask(app, talk)):
        if number % 2:
            problem(response, 422)
        else:
            assert response.json() == alike(reader(**good))


class Broken(Reader):
    """A Reader that fails at some questions as no Reader should."""

    def __call__(self, inputs: Any = None, *, question: Any = None, **settings: Any) -> Any:
        if "broken?" in question:
            raise RuntimeError("inner workings")
        return super().__call__(inputs, question=question, **settings)


def test_a_failure_of_the_reader_is_admitted_and_ends_nothing(reader: Reader) -> None:
    broken = Broken(reader.runner, reader.tokenizer, **vars(reader.settings))
    with Batcher(broken) as batcher:
        app = make_app(batcher, "broken", LIMITS)
        line = problem(post(app, json={"question": "broken?", "context": CONTEXT}), 500)
        assert "inner workings" not in line
        assert predict(app, question=QUESTION, context=CONTEXT)["answer"]


def test_a_failure_over_documents_is_admitted_and_ends_nothing(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(pairs: Any, settings: Any) -> Any:
        if any("broken" in pair.context for pair in pairs):
            raise RuntimeError("inner workings")
        return score(pairs, settings)

    score = reader.scorer.score
    monkeypatch.setattr(reader.scorer, "score", broken)
    with Batcher(reader) as batcher:
        app = make_app(batcher, "broken", LIMITS)
        record = {"question": QUESTION, "contexts": [CONTEXT]}
        for asked in (
            {"question": QUESTION, "contexts": [CONTEXT, "broken"]},
            {"inputs": [record, record | {"contexts": ["broken"]}]},
        ):
            assert "inner workings" not in problem(post(app, json=asked), 500)
        assert predict(app, **record)["answer"]


def test_documents_take_turns_with_questions(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "BLOCK_CHARACTERS", 100)
    read: list[list[str]] = []

    def watched(pairs: Any, settings: Any) -> Any:
        read.append([pair.context for pair in pairs])
        return score(pairs, settings)

    documents = [DocumentPair("Who?", f"Ada wrote program {number}.", 0, number) for number in range(9)]
    of_long = reader(question="Who?", contexts=[pair.context for pair in documents])
    of_short = reader(question="Who?", context=CONTEXT)
    score = reader.scorer.score
    monkeypatch.setattr(reader.scorer, "score", watched)
    batcher = Batcher(reader)
    long = batcher.ask_documents(DocumentRequest(["Who?"], documents, None), reader.settings)
    short = batcher.ask([Pair("Who?", CONTEXT)], reader.settings)
    with batcher:
        assert long.result(60) == alike([of_long])
        assert short.result(60) == alike([of_short])
    assert read[1] == [CONTEXT]
    assert [len(texts) for texts in read] == [3, 1, 5, 1]


def test_a_client_that_has_gone_is_not_answered(reader: Reader) -> None:
    asked = []

    class Watched(Batcher):
        def ask(self, *what: Any) -> Any:
            asked.append(super().ask(*what))
            return asked[-1]

    batcher = Watched(reader)  # which nobody has started, so that it is busy for ever
    body = json.dumps({"question": QUESTION, "context": CONTEXT}).encode()
    messages = iter([{"type": "http.request", "body": body}, {"type": "http.disconnect"}])

    async def receive() -> Any:
        return next(messages)

    async def send(_: Any) -> None: ...

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": "/predict",
        "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
    }
    asyncio.run(make_app(batcher, "tiny", LIMITS)(scope, receive, send))
    assert [future.cancelled() for future in asked] == [True]


def test_health_names_the_model_and_its_settings(app: FastAPI, reader: Reader) -> None:
    response = ask(app, lambda client: client.get("/health"))
    assert response.json() == {"status": "ok", "model": "tiny", "settings": vars(reader.settings)}


def test_other_paths_and_methods_are_refused(app: FastAPI) -> None:
    problem(ask(app, lambda client: client.get("/nowhere")), 404)
    problem(ask(app, lambda client: client.get("/predict")), 405)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8000", 200),
        ("127.0.0.1:8000", 200),
        ("[::1]:8000", 200),
        ("[::1]", 200),
        ("qa.example.org:8000", 200),
        ("a.b.example.com", 200),
        ("example.com", 400),
        ("example.com.evil.net", 400),
        ("localhost.evil.net", 400),
        ("127.0.0.2", 400),
        ("[::2]:8000", 400),
        ("", 400),
    ],
)
def test_only_its_own_names_are_answered(reader: Reader, host: str, status: int) -> None:
    # The name of some other site could be made to lead here (DNS rebinding), and its pages would count as ours.
    app = make_app(Batcher(reader), "tiny", LIMITS, ["qa.example.org", "*.example.com"])
    for path in ("/health", "/docs", "/openapi.json"):
        assert ask(app, lambda client, path=path: client.get(path, headers={"Host": host})).status_code == status, path


def test_any_name_is_answered_where_that_is_asked_for(reader: Reader) -> None:
    app = make_app(Batcher(reader), "tiny", LIMITS, ["*"])
    assert ask(app, lambda client: client.get("/health", headers={"Host": "anything.net"})).status_code == 200


def test_the_document_names_every_key_and_every_refusal(app: FastAPI) -> None:
    document = ask(app, lambda client: client.get("/openapi.json")).json()
    operation = document["paths"]["/predict"]["post"]
    assert set(operation["responses"]) == {"200", "400", "408", "413", "422", "500"}
    asked = document["components"]["schemas"]["PredictRequest"]
    assert list(asked["properties"])[:5] == ["question", "context", "contexts", "inputs", "top_k"]
    assert "at most 2,000 bytes, 5 questions and 12 contexts" in document["info"]["description"]
    predict(app, **asked["example"])


def test_the_page_is_made_of_the_document_and_needs_nothing_else(reader: Reader) -> None:
    app = make_app(Batcher(reader), "<b>a & b</b>", LIMITS)
    response = ask(app, lambda client: client.get("/docs"))
    page = response.text
    assert response.headers["content-security-policy"].startswith("default-src 'none'")
    assert "http://" not in page
    assert "https://" not in page
    assert "src=" not in page
    assert "<h1>&lt;b&gt;a &amp; b&lt;/b&gt;, a question-answering model</h1>" in page
    for text in ("POST /predict", "GET /health", "string, or list of string", "The body is too large.", "top_k"):
        assert text in page
    assert "Who wrote the program?" in page


def test_the_root_leads_to_the_page(app: FastAPI) -> None:
    response = ask(app, lambda client: client.get("/"))
    assert (response.status_code, response.headers["location"]) == (307, "docs")
    assert ask(app, lambda client: client.get("/", follow_redirects=True)).text.startswith("<!doctype html>")
    assert "/" not in ask(app, lambda client: client.get("/openapi.json")).json()["paths"]


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
def test_no_word_of_the_page_is_broken(reader: Reader, tmp_path: Path, width: int) -> None:
    page = tmp_path / "page.html"
    page.write_text(ask(make_app(Batcher(reader), "tiny", LIMITS), lambda client: client.get("/docs")).text)
    with chromium() as browser:
        shown = browser.new_page(viewport={"width": width, "height": 844})
        shown.goto(page.as_uri())
        assert shown.evaluate("document.documentElement.scrollWidth") <= width
        # A word that is broken has a rectangle on each of its lines.
        broken = shown.evaluate(
            """() => {
              const found = [];
              const walker = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
              while (walker.nextNode()) {
                if (!walker.currentNode.parentElement.closest("tbody, h1, h2, p, nav")) continue;
                for (const { index, 0: word } of walker.currentNode.data.matchAll(/[^\\s-]+/g)) {
                  const range = document.createRange();
                  range.setStart(walker.currentNode, index);
                  range.setEnd(walker.currentNode, index + word.length);
                  const lines = new Set([...range.getClientRects()].map((part) => Math.round(part.top)));
                  if (lines.size > 1) found.push(word);
                }
              }
              return found;
            }"""
        )
    assert broken == []


def test_limits_below_one_are_refused() -> None:
    with pytest.raises(UserError, match="max_questions must be at least 1, not 0"):
        Limits(max_questions=0)
