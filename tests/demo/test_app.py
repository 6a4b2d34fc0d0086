"""The page's server, asked without a network: good requests, bad ones, too large ones, and those of other sites."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from qa_lightning import Reader
from qa_lightning.demo.app import LARGEST_BODY, LONGEST_CONTEXT, LONGEST_QUESTION, is_own_name, make_app
from qa_lightning.demo.sample_questions import OWN, SampleQuestion, own_questions, sample_questions
from qa_lightning.reader.settings import Settings
from tests.report.runs import answered, make_run
from tests.tiny import PASSAGES, tiny_folder

CONTEXT = f"😀 {PASSAGES[0][0]} {PASSAGES[1][0]} {PASSAGES[2][0]}"
QUESTION = "Who wrote the program?"
HOSTILE = "</script><img src=x onerror=alert(1)>'\""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("model"))


def reader_of(folder: Path, **settings: Any) -> Reader:
    return Reader.from_pretrained(folder, max_seq_len=48, max_question_len=12, doc_stride=8, **settings)


@pytest.fixture(scope="module")
def reader(folder: Path) -> Reader:
    return reader_of(folder, top_k=5)


def request(reader: Any, method: str, path: str, name: str = "tiny", **arguments: Any) -> httpx.Response:
    async def answered() -> httpx.Response:
        transport = httpx.ASGITransport(make_app(reader, name, "127.0.0.1"), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:7860") as client:
            return await client.request(method, path, **arguments)

    return asyncio.run(answered())


def ask(reader: Any, question: Any = QUESTION, context: Any = CONTEXT, **arguments: Any) -> httpx.Response:
    return request(reader, "POST", "/ask", json={"question": question, "context": context}, **arguments)


def error_of(response: httpx.Response) -> tuple[int, str]:
    assert set(response.json()) == {"error"}
    return response.status_code, response.json()["error"]


def test_an_answer_is_the_readers(reader: Reader) -> None:
    response = ask(reader)
    assert response.status_code == 200
    found = response.json()
    assert found["answers"] == reader(question=QUESTION, context=CONTEXT)
    assert len(found["answers"]) == 5
    assert found["null_probability"] is None
    tokens = found["tokens"]
    assert len(tokens["spans"]) == len(tokens["starts"]) == len(tokens["ends"])
    assert sum(tokens["starts"]) == pytest.approx(1, abs=1e-4)
    pieces = [CONTEXT[start:end] for start, end in tokens["spans"]]
    assert pieces[:4] == ["😀", "Ada", "wrote", "the"]
    expected = reader.explain(QUESTION, CONTEXT).tokens
    np.testing.assert_allclose(tokens["ends"], expected.ends, atol=1e-6)


def test_how_likely_no_answer_is_where_it_may_be(folder: Path) -> None:
    reader = reader_of(folder, top_k=1000, handle_impossible_answer=True)
    found = ask(reader).json()
    (null,) = [answer["score"] for answer in found["answers"] if not answer["answer"]]
    assert found["null_probability"] == pytest.approx(null)
    assert sum(found["tokens"]["starts"]) < 1


@pytest.mark.parametrize(
    ("question", "context", "message"),
    [
        ("", CONTEXT, "question is empty"),
        (QUESTION, " \n", "context is empty"),
        ("x" * (LONGEST_QUESTION + 1), CONTEXT, "1,001 characters; at most 1,000"),
        (QUESTION, "x" * (LONGEST_CONTEXT + 1), "100,001 characters; at most 100,000"),
        (None, CONTEXT, "expected"),
        (QUESTION, ["a list"], "expected"),
    ],
)
def test_a_bad_question_is_refused(reader: Reader, question: Any, context: Any, message: str) -> None:
    status, error = error_of(ask(reader, question, context))
    assert status == 422
    assert message in error


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"question": "\\ud800?", "context": "A house."}'],
)
def test_a_body_that_is_no_question_is_refused(reader: Reader, body: bytes) -> None:
    status, _ = error_of(request(reader, "POST", "/ask", content=body, headers={"content-type": "application/json"}))
    assert status == 422


def test_of_a_large_body_no_more_is_read(reader: Reader) -> None:
    async def endless() -> Any:
        for _ in range(LARGEST_BODY // 4096 + 2):
            yield b" " * 4096
        raise AssertionError("all of it was read")

    response = request(reader, "POST", "/ask", content=endless(), headers={"content-type": "application/json"})
    status, error = error_of(response)
    assert status == 413
    assert "1,048,576 bytes" in error


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_what_another_site_can_send_unasked_is_refused(reader: Reader, kind: str) -> None:
    body = json.dumps({"question": QUESTION, "context": CONTEXT})
    status, _ = error_of(request(reader, "POST", "/ask", content=body, headers={"content-type": kind}))
    assert status == 415


def test_another_name_is_refused(reader: Reader) -> None:
    assert request(reader, "GET", "/", headers={"host": "evil.example:7860"}).status_code == 403
    assert ask(reader, headers={"host": "evil.example"}).status_code == 403
    assert ask(reader, headers={"host": "localhost:7860"}).status_code == 200


@pytest.mark.parametrize(
    ("header", "own"),
    [
        ("127.0.0.1:7860", True),
        ("[::1]:7860", True),
        ("[::1]", True),
        ("LocalHost", True),
        ("192.168.0.7:80", True),
        ("mybox:7860", True),
        ("", False),
        ("evil.example:7860", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example:7860", False),
    ],
)
def test_own_names(header: str, own: bool) -> None:
    assert is_own_name(header, "MyBox") is own


def test_only_the_page_is_served(reader: Reader) -> None:
    assert request(reader, "GET", "/ask").status_code == 405
    assert request(reader, "GET", "/page.py").status_code == 404
    assert request(reader, "GET", "/page.css").headers["content-type"].startswith("text/css")
    assert request(reader, "GET", "/page.js").headers["content-type"].startswith("text/javascript")


def test_nothing_within_the_page_can_run_or_be_fetched_from_elsewhere(reader: Reader) -> None:
    response = request(reader, "GET", "/", name=HOSTILE)
    policy = response.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; ")
    assert "unsafe" not in policy
    assert HOSTILE not in response.text
    assert "&lt;/script&gt;&lt;img" in response.text
    assert re.findall(r"(?:src|href)=\"([^\"]*)\"", response.text) == ["data:,", "page.css", "page.js"]


def test_a_failure_is_reported_and_ends_nothing() -> None:
    class Failing:
        settings = Settings()

        def predictions(self, **_: Any) -> Any:
            raise RuntimeError("out of memory")

    assert ask(Failing()).status_code == 500


def test_examples_can_be_asked() -> None:
    for sample in sample_questions():
        assert 0 < len(sample.question) <= LONGEST_QUESTION
        assert 0 < len(sample.context) <= LONGEST_CONTEXT
    assert len({sample.question for sample in sample_questions()}) == len(sample_questions())


def test_a_runs_own_questions_come_first(reader: Reader, tmp_path: Path) -> None:
    assert own_questions("google/bert") == own_questions(str(tmp_path)) == []
    predictions = [answered(row, ["Ada"], "Ada", question=f"Who, {row}?") for row in range(40)]
    make_run(tmp_path / "run/vi", predictions)
    (tmp_path / "run/config.yaml").touch()
    (tmp_path / "run/best_model").mkdir()
    own = own_questions(str(tmp_path / "run"))
    assert [sample.question for sample in own] == ["Who, 0?", "Who, 10?", "Who, 20?", "Who, 30?"]
    assert len(own) == OWN
    assert own_questions(str(tmp_path / "run/best_model")) == own
    hostile = SampleQuestion(HOSTILE, HOSTILE)

    async def page() -> str:
        transport = httpx.ASGITransport(make_app(reader, "tiny", "127.0.0.1", [hostile, *own]))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:7860") as client:
            return (await client.get("/")).text

    text = asyncio.run(page())
    assert HOSTILE not in text
    setup = json.loads(re.findall(r'id="setup">(.*?)</script>', text, re.DOTALL)[0])
    assert [example["question"] for example in setup["examples"][:2]] == [HOSTILE, "Who, 0?"]
