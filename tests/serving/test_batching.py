"""The queue before the model: who is answered with whom, and that nobody gets what is another's."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from typing import Any

import pytest

from qa_lightning.reader.inputs import Pair
from qa_lightning.reader.settings import Settings
from qa_lightning.serving import batching
from qa_lightning.serving.batching import Batcher
from qa_lightning.utils.errors import UserError

DEFAULTS = Settings()
SECONDS = 10.0


class Echo:
    """Answers a question with itself, after the first call only when it may."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.settings: list[Settings] = []
        self.begun, self.may_go_on = threading.Event(), threading.Event()

    def __call__(self, *, question: tuple[str, ...], context: tuple[str, ...], **settings: Any) -> list[str]:
        self.calls.append(list(question))
        self.settings.append(Settings(**settings))
        self.begun.set()
        assert self.may_go_on.wait(SECONDS)
        if "bad" in self.calls[-1]:
            raise UserError("cannot be answered")
        return [f"{asked} {about}" for asked, about in zip(question, context, strict=True)]


class Busy:
    """A batcher whose model is busy with the question "first" until it is released."""

    def __init__(self, batcher: Batcher, reader: Echo) -> None:
        self.batcher, self.reader = batcher, reader
        self.first = self.ask("first")
        assert reader.begun.wait(SECONDS)

    def ask(self, *questions: str, context: str = "c", settings: Settings = DEFAULTS) -> Future[list[Any]]:
        return self.batcher.ask([Pair(question, context) for question in questions], settings)

    def release(self) -> None:
        self.reader.may_go_on.set()
        assert self.first.result(SECONDS) == ["first c"]


@pytest.fixture
def busy() -> Iterator[Busy]:
    with running() as started:
        yield started


@contextmanager
def running() -> Iterator[Busy]:
    reader = Echo()
    with Batcher(reader) as batcher:  # type: ignore[arg-type]
        try:
            yield Busy(batcher, reader)
        finally:
            reader.may_go_on.set()


def test_what_waits_is_answered_together_and_goes_to_who_asked(busy: Busy) -> None:
    asked = [busy.ask(f"a{number}", f"b{number}", context=str(number)) for number in range(10)]
    busy.release()
    for number, answers in enumerate(asked):
        assert answers.result(SECONDS) == [f"a{number} {number}", f"b{number} {number}"]
    assert [len(call) for call in busy.reader.calls] == [1, 20]


def test_settings_of_their_own_are_answered_apart(busy: Busy) -> None:
    wanted = [DEFAULTS, Settings(top_k=3), DEFAULTS, Settings(top_k=3)]
    asked = [busy.ask(f"q{number}", settings=settings) for number, settings in enumerate(wanted)]
    busy.release()
    assert [answers.result(SECONDS) for answers in asked] == [[f"q{number} c"] for number in range(4)]
    assert busy.reader.calls[1:] == [["q0", "q2"], ["q1", "q3"]]
    assert busy.reader.settings[1:] == wanted[:2]


def test_a_question_that_fails_fails_alone(busy: Busy) -> None:
    good, bad, partly, other = busy.ask("good"), busy.ask("bad"), busy.ask("fine", "bad"), busy.ask("other")
    busy.release()
    assert good.result(SECONDS) == ["good c"]
    assert other.result(SECONDS) == ["other c"]
    for future in (bad, partly):
        with pytest.raises(UserError, match="cannot be answered"):
            future.result(SECONDS)
    assert busy.ask("after").result(SECONDS) == ["after c"]


def test_a_long_request_does_not_hold_up_a_short_one(busy: Busy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "BLOCK_CHARACTERS", 30)
    long = busy.ask(*(f"long{number}" for number in range(8)), context="c" * 10)
    short = busy.ask("short")
    busy.release()
    assert short.result(SECONDS) == ["short c"]
    assert long.result(SECONDS) == [f"long{number} {'c' * 10}" for number in range(8)]
    # Each has 15 characters or 6, and a block ends with the one that brings it to 30.
    assert busy.reader.calls[1:] == [
        ["long0", "short", "long1"],
        ["long2", "long3"],
        ["long4", "long5"],
        ["long6", "long7"],
    ]


def test_one_question_above_the_size_of_a_block_is_answered(busy: Busy) -> None:
    context = "c" * (2 * batching.BLOCK_CHARACTERS)
    busy.release()
    assert busy.ask("big", context=context).result(SECONDS) == [f"big {context}"]


def test_who_has_gone_is_left_out(busy: Busy) -> None:
    stays, goes = busy.ask("stays"), busy.ask("goes")
    assert goes.cancel()
    busy.release()
    assert stays.result(SECONDS) == ["stays c"]
    assert busy.reader.calls == [["first"], ["stays"]]


def test_who_goes_while_the_model_is_at_it_does_not_end_it(busy: Busy) -> None:
    assert busy.first.cancel()
    busy.reader.may_go_on.set()
    assert busy.ask("after").result(SECONDS) == ["after c"]


def test_the_end_waits_for_the_block_at_hand_and_cancels_the_rest() -> None:
    with running() as busy:
        waiting = busy.ask("waiting")
        ending = threading.Thread(target=busy.batcher.__exit__)
        ending.start()
        ending.join(0.05)
        assert ending.is_alive()
        busy.release()
        ending.join(SECONDS)
    assert not ending.is_alive()
    with pytest.raises(CancelledError):
        waiting.result(SECONDS)
    assert busy.reader.calls == [["first"]]


def test_many_threads_get_their_own_answers() -> None:
    answers: dict[str, list[str]] = {}

    def ask(busy: Busy, name: str) -> None:
        for number in range(50):
            answers[f"{name}-{number}"] = busy.ask(f"{name}-{number}", context=name).result(SECONDS)

    with running() as busy:
        busy.release()
        threads = [threading.Thread(target=ask, args=(busy, str(name))) for name in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == {name: [f"{name} {name.partition('-')[0]}"] for name in answers}
    assert len(answers) == 400
