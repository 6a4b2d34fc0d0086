"""``serve`` as it is started: a process of its own, asked over its port, and stopped by a signal."""

from __future__ import annotations

import http.client
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from qa_lightning import Reader
from tests import forked
from tests.cli import mistakes
from tests.report.chromium import chromium
from tests.tiny import PASSAGES, tiny_folder

SETTINGS = {"max_question_len": 12, "top_k": 2, "handle_impossible_answer": True}
FLAGS = ("--max_question_len", "12", "--top_k", "2", "--handle_impossible_answer")
PAIRS = [(question, context) for context, asked in PASSAGES for question, _ in asked]
GOOD = {"question": "Who wrote the program?", "context": "Ada wrote the first program in London."}
SECONDS = 60.0


class Server(NamedTuple):
    """A server that runs, and its address."""

    process: forked.Forked
    address: str

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])


@contextmanager
def serving(model: Path, *flags: str) -> Iterator[Server]:
    """A server on a free port, which is killed where a test has not stopped it."""
    command = ["-m", "qa_lightning", "serve", "--model", model, "--port", "0", *FLAGS, *flags]
    with forked.Forked(command) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("It answers at http://127.0.0.1:"), line + process.communicate()[1]
            yield Server(process, next(word for word in line.split() if word.startswith("http://")))
        finally:
            process.kill()


def stopped(server: Server) -> tuple[int, str]:
    """The status with which a server ends that was asked to stop, and what it complained of."""
    _, complaints = server.process.communicate(timeout=SECONDS)
    return server.process.returncode, complaints


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("serve") / "tiny")


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[Server]:
    with serving(model) as started:
        yield started


@pytest.fixture(scope="module")
def reader(model: Path) -> Reader:
    return Reader.from_pretrained(model, **SETTINGS)


def alike(answers: Any) -> Any:
    """The same answers, whose scores may differ as far as a batch of another shape makes them."""
    if isinstance(answers, list):
        return [alike(answer) for answer in answers]
    return answers | {"score": pytest.approx(answers["score"], abs=1e-5)}


def curl(*arguments: str, body: bytes | None = None) -> tuple[int, Any]:
    """The status and the JSON of a request."""
    program = shutil.which("curl")
    if program is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs curl on the path")
    command = [program, "-sS", "-w", "\n%{http_code}", *arguments]
    response, _, status = subprocess.run(command, input=body, capture_output=True, check=True).stdout.rpartition(b"\n")
    return int(status), json.loads(response)


def post(server: Server, body: bytes, *arguments: str) -> tuple[int, Any]:
    header = ("-H", "Content-Type: application/json")
    return curl(*header, *arguments, "--data-binary", "@-", f"{server.address}/predict", body=body)


@pytest.mark.slow
def test_it_answers_by_its_own_names_only(model: Path) -> None:
    with serving(model, "--allowed_hosts", "qa.example.org") as server:
        for host, status in (("localhost", 200), ("qa.example.org", 200), ("evil.example", 400)):
            assert httpx.get(f"{server.address}/health", headers={"Host": host}).status_code == status, host


@pytest.mark.slow
def test_curl_asks_and_is_answered(server: Server, reader: Reader) -> None:
    assert post(server, json.dumps(GOOD).encode()) == (200, alike(reader(**GOOD)))
    status, health = curl(f"{server.address}/health")
    assert status == 200
    assert health["status"] == "ok"
    assert health["model"] == "tiny"
    assert health["settings"] == vars(reader.settings)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "arguments", "status", "message"),
    [
        (b'{"question":', (), 400, "not JSON"),
        (json.dumps(GOOD | {"question": 1}).encode(), (), 422, "question is int"),
        (json.dumps(GOOD | {"topk": 1}).encode(), (), 422, "unknown key 'topk'"),
        (json.dumps(GOOD | {"context": "a " * 60_000}).encode(), (), 422, "--max_context_characters"),
        (json.dumps(GOOD | {"question": ["a"] * 129}).encode(), (), 422, "--max_questions"),
        (b" " * 10_000_000, (), 413, "--max_body_bytes"),
        (b" " * 10_000_000, ("-H", "Expect:"), 413, "--max_body_bytes"),
        (b" " * 10_000_000, ("-H", "Transfer-Encoding: chunked"), 413, "--max_body_bytes"),
    ],
    ids=["malformed", "type", "key", "context", "questions", "body", "body-unasked", "body-chunked"],
)
def test_curl_is_refused_in_one_line_and_the_server_goes_on(
    server: Server, body: bytes, arguments: tuple[str, ...], status: int, message: str
) -> None:
    answered, problem = post(server, body, *arguments)
    assert answered == status
    assert message in problem["detail"]
    assert "\n" not in problem["detail"]
    assert post(server, json.dumps(GOOD).encode())[0] == 200


@pytest.mark.slow
def test_many_clients_at_once_get_their_own_answers(server: Server, reader: Reader) -> None:
    words = ("ada", "grace", "alan", "paris", "rome", "garden")
    cases = [
        {"question": f"{question} {word}", "context": f"{word} {context}"}
        for question, context in PAIRS
        for word in words
    ]
    expected = reader(cases)
    answered: list[int] = []
    wrong: list[Any] = []

    def client(number: int) -> None:
        with httpx.Client(base_url=server.address) as connection:
            for step in range(12):
                case = (number + 7 * step) % len(cases)
                response = connection.post("/predict", json=cases[case])
                answered.append(case)
                if response.status_code != 200 or response.json() != alike(expected[case]):
                    wrong.append((case, response.text))

    clients = [threading.Thread(target=client, args=(number,)) for number in range(16)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    assert wrong == []
    assert set(answered) == set(range(len(cases)))


@pytest.mark.slow
def test_the_page_asks_without_any_other_site(server: Server) -> None:
    with chromium() as browser:
        page = browser.new_page()
        asked: list[str] = []
        complaints: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{server.address}/docs")
        form = page.locator("form[data-path='/predict']")
        form.get_by_role("button").click()
        form.locator("pre").filter(has_text='"answer"').wait_for()
        assert form.locator("pre").inner_text().startswith("200\n")
        form.locator("textarea").fill("{}")
        form.get_by_role("button").click()
        form.locator("pre").filter(has_text="no questions").wait_for()
        assert form.locator("pre").inner_text().startswith("422\n")
    assert all(url.startswith((server.address, "data:")) for url in asked)
    assert {url.removeprefix(server.address) for url in asked} >= {"/docs", "/predict"}
    assert not [complaint for complaint in complaints if "422" not in complaint and "favicon" not in complaint]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_answers_what_runs_and_leaves_nothing(model: Path, reader: Reader, number: signal.Signals) -> None:
    long = {"question": [f"Who {word}?" for word in "abcdefgh"], "context": " ".join(pair[1] for pair in PAIRS) * 100}
    body = json.dumps(long)
    expected = reader(**long)
    with serving(model) as server:
        family = descendants(server.process.pid)
        clients = [http.client.HTTPConnection("127.0.0.1", server.port, timeout=SECONDS) for _ in range(4)]
        for connection in clients:
            connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
        time.sleep(0.3)  # so that all have been received
        assert select.select([connection.sock for connection in clients], [], [], 0)[0] == []  # and none answered
        server.process.send_signal(number)
        responses = [connection.getresponse() for connection in clients]
        answers = [(response.status, json.loads(response.read())) for response in responses]
        for connection in clients:
            connection.close()
        status, complaints = stopped(server)
    assert answers == [(200, alike(expected))] * 4
    assert (status, complaints) == (0, "")
    assert not [pid for pid in family if Path(f"/proc/{pid}").exists()]
    with socket.create_server(("127.0.0.1", server.port)):
        pass


def descendants(pid: int) -> list[int]:
    """The processes that one has started, and those that they have."""
    found = [pid]
    for parent in found:  # grows as it goes
        for task in Path(f"/proc/{parent}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found[1:]


def error_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    return mistakes.error_of(["serve", *arguments], capsys)


@pytest.mark.parametrize("module", ["fastapi", "uvicorn"])
def test_a_missing_extra_is_named(
    module: str, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    line = error_of(["--model", str(model)], capsys)
    assert line == f"error: {module} is not installed: pip install 'qa_lightning[serve]'\n"


def test_what_cannot_be_served_is_refused(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named = ["--model", str(model)]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"cannot listen on 127.0.0.1, port {port}" in error_of([*named, "--port", port], capsys)
    assert "there is no port 99999; choose another --port" in error_of([*named, "--port", "99999"], capsys)
    free = [*named, "--port", "0"]
    assert "cannot listen on nowhere.invalid" in error_of([*free, "--host", "nowhere.invalid"], capsys)
    assert "max_questions must be at least 1" in error_of([*free, "--max_questions", "0"], capsys)
    assert "top_k must be at least 1" in error_of([*free, "--top_k", "0"], capsys)
    for hosts in (["*x.org"], ["a.org", "http://a.org"], ["*."]):
        line = error_of([*free, "--allowed_hosts", *hosts], capsys)
        assert f"--allowed_hosts {hosts[-1]}: give a host name, as in qa.example.com" in line
    assert "none/of/it: no such" in error_of(["--port", "0", "--model", str(tmp_path / "none/of/it")], capsys)
    headless = tiny_folder(tmp_path / "headless", head=False)
    capsys.readouterr()
    assert "no question-answering head" in error_of(["--port", "0", "--model", str(headless)], capsys)
    assert "--model" in error_of([], capsys)
