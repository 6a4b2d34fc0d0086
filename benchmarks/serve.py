"""The speed of a server with many clients, compared with its Reader given all questions at once.

The server runs as it is started from the command line, in a process of its own; so do its clients, each of which sends
the next question when it has the answer to the last, over one connection. Every answer is compared with the Reader's.
"""

from __future__ import annotations

import http.client
import json
import math
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np

from benchmarks.data import squad_shaped
from benchmarks.harness import ROOT, Row, Size, best_of, in_child, main, row
from benchmarks.models import MINILM, Shape, make_module, write_model
from qa_lightning import Reader

BAR = 0.7

CLIENTS = 64

_TOLERANCE = 1e-4  # of a score
_SECONDS_TO_STOP = 60


class Plan(NamedTuple):
    """The size of a measurement.

    Attributes:
        shape: The model's.
        questions: How many different questions there are.
        seconds: For how long the clients ask.
    """

    shape: Shape
    questions: int
    seconds: float


PLANS: dict[Size, Plan] = {"small": Plan(MINILM, 240, 5), "full": Plan(MINILM, 1190, 30)}


def save_model(shape: Shape, folder: Path) -> Path:
    """A model with random weights and its tokenizer, as transformers keeps them."""
    module = make_module(write_model(shape, folder / "shape"))
    module.model.save_pretrained(folder / "model")
    module.tokenizer.save_pretrained(folder / "model")
    return folder / "model"


@contextmanager
def serving(model: Path) -> Iterator[str]:
    """A server in a process of its own, by its address; it must stop as it should.

    Args:
        model: The model's folder.
    """
    command = [sys.executable, "-m", "qa_lightning", "serve", "--model", str(model), "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield next(word for word in server.stdout.readline().split() if word.startswith("http://"))
        finally:
            server.send_signal(signal.SIGTERM)
            status = server.wait(_SECONDS_TO_STOP)
    assert status == 0, f"the server ended with status {status}"


def load(address: str, seconds: str, cases: str) -> dict[str, Any]:
    """Asks from as many threads as there are clients.

    Args:
        address: The server's.
        seconds: For how long.
        cases: A file of JSON, with a list of requests and one of the answers that are expected.

    Returns:
        ``seconds`` until the last answer, the ``milliseconds`` of each, and how many ``failed`` or were ``wrong``.
    """
    requests, expected = json.loads(Path(cases).read_text(encoding="utf-8"))
    bodies = [json.dumps(request).encode() for request in requests]
    milliseconds: list[float] = []
    failed: list[str] = []
    wrong: list[int] = []
    start = time.perf_counter()

    def client(number: int) -> None:
        connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
        while (begin := time.perf_counter()) - start < float(seconds):
            case = number % len(bodies)
            number += CLIENTS
            try:
                connection.request("POST", "/predict", bodies[case], {"Content-Type": "application/json"})
                response = connection.getresponse()
                answer = json.loads(response.read())
            except (OSError, http.client.HTTPException, ValueError) as error:
                failed.append(repr(error))
                connection.close()
                continue
            milliseconds.append(1000 * (time.perf_counter() - begin))
            if response.status != 200:
                failed.append(str(answer))
            elif not _alike(answer, expected[case]):
                wrong.append(case)
        connection.close()

    clients = [Thread(target=client, args=(number,)) for number in range(CLIENTS)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    whole = time.perf_counter() - start
    return {"seconds": whole, "milliseconds": milliseconds, "failed": failed, "wrong": wrong}


def _alike(answer: dict[str, Any], expected: dict[str, Any]) -> bool:
    """Whether two answers are the same, but for what a batch of another shape does to the score."""
    same_score = math.isclose(answer["score"], expected["score"], abs_tol=_TOLERANCE)
    return same_score and all(answer[name] == expected[name] for name in ("start", "end", "answer"))


def measure(plan: Plan) -> list[Row]:
    """Runs the benchmark at a size."""
    rows = squad_shaped(plan.questions)
    requests = [{name: record[name] for name in ("question", "context")} for record in rows]
    with tempfile.TemporaryDirectory() as temporary:
        model = save_model(plan.shape, Path(temporary))
        reader = Reader.from_pretrained(model)
        expected = reader(requests)
        # Before and after, so that nothing else that the machine does meanwhile is to one side's advantage.
        seconds = [best_of(lambda: reader(requests), 1)]
        cases = Path(temporary, "cases.json")
        cases.write_text(json.dumps([requests, expected]), encoding="utf-8")
        with serving(model) as address:
            measured = in_child("benchmarks.serve", "load", address, plan.seconds, cases)
        seconds.append(best_of(lambda: reader(requests), 1))
    alone = len(requests) / min(seconds)
    answered = len(measured["milliseconds"])
    middle, slow = np.percentile(measured["milliseconds"], [50, 99])
    what = f"{CLIENTS} clients, {plan.shape.name}"
    seen = f"the peer is the Reader, given {len(requests):,} questions at once; {answered:,} answers"
    mistakes = [*measured["failed"], *(f"question {case}" for case in measured["wrong"])]
    return [
        row(
            "serve", f"questions/s, {what}", answered / measured["seconds"], peer=alone, bar=BAR, unit="q/s", note=seen
        ),
        row("serve", f"ms to an answer, p50, {what}", middle, higher_is_better=False, unit="ms"),
        row("serve", f"ms to an answer, p99, {what}", slow, higher_is_better=False, unit="ms"),
        row(
            "serve",
            "requests that failed or got another answer than the Reader's",
            len(mistakes),
            bar=0,
            higher_is_better=False,
            note=", ".join(mistakes[:3]),
        ),
    ]


def run(size: Size) -> list[Row]:
    """Runs the benchmark."""
    return measure(PLANS[size])


if __name__ == "__main__":
    main(run, __doc__, load=load)
