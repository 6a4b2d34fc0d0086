"""Answers many requests with one model: those that wait while it is busy are answered together."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any

from qa_lightning.reader.inputs import Pair
from qa_lightning.reader.reader import Reader
from qa_lightning.reader.settings import Settings

BLOCK_CHARACTERS = 1 << 16
"""Characters of questions and contexts that are answered together, or one question where that has more; what comes in
meanwhile waits no longer than these take."""


class _Request:
    """Questions that are answered to one asker.

    Attributes:
        pairs: The questions with their contexts.
        settings: How to answer them.
        answers: The answer to each, as far as it is known.
        taken: How many were given to the model.
        missing: How many have no answer yet.
        done: Where the asker gets all answers.
    """

    def __init__(self, pairs: Sequence[Pair], settings: Settings) -> None:
        self.pairs = pairs
        self.settings = settings
        self.answers: list[Any] = [None] * len(pairs)
        self.taken = 0
        self.missing = len(pairs)
        self.done: Future[list[Any]] = Future()

    def store_answer(self, number: int, answer: Any) -> None:
        self.answers[number] = answer
        self.missing -= 1
        if not self.missing:
            with suppress(InvalidStateError):  # the asker has gone
                self.done.set_result(self.answers)

    def fail(self, error: Exception) -> None:
        with suppress(InvalidStateError):  # the asker has gone, or another of the questions has failed
            self.done.set_exception(error)


_Part = tuple[_Request, int]
"""One question: a request and the question's number in it."""


class Batcher:
    """Answers the questions of any number of threads in one of its own, together where they wait together.

    There is no time that is waited for more: when the model is free, the questions that came in while it was busy are
    its next block. Requests take turns by single questions, so that a long one does not hold up the others.

    It is a context; when that ends, the block at hand is finished and what still waits is cancelled.

    Args:
        reader: What answers.
    """

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self._waiting: deque[_Request] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="model")

    def __enter__(self) -> Batcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()
        for request in self._waiting:
            request.done.cancel()

    def ask(self, pairs: Sequence[Pair], settings: Settings) -> Future[list[Any]]:
        """Puts questions in the queue.

        Args:
            pairs: The questions with their contexts, at least one.
            settings: How to answer them.

        Returns:
            Where the answers will be, in the order asked, each as the Reader gives it in a list. Cancelled, the
            questions that the model has not begun are left out.
        """
        request = _Request(pairs, settings)
        with self._changed:
            self._waiting.append(request)
            self._changed.notify()
        return request.done

    def _work(self) -> None:
        while not self._closed:
            together: dict[Settings, list[_Part]] = {}
            for part in self._next_block():
                together.setdefault(part[0].settings, []).append(part)
            for settings, parts in together.items():
                self._answer(settings, parts)

    def _next_block(self) -> list[_Part]:
        """The next questions, one of each request in turn; it waits until there are some, or all is over."""
        block: list[_Part] = []
        characters = 0
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            while self._waiting and characters < BLOCK_CHARACTERS:
                request = self._waiting.popleft()
                if request.done.done():  # cancelled or failed
                    continue
                block.append((request, request.taken))
                characters += sum(map(len, request.pairs[request.taken]))
                request.taken += 1
                if request.taken < len(request.pairs):
                    self._waiting.append(request)
        return block

    def _answer(self, settings: Settings, parts: list[_Part]) -> None:
        questions, contexts = zip(*(request.pairs[number] for request, number in parts), strict=True)
        try:
            answers = self.reader(question=questions, context=contexts, **vars(settings))
        except Exception as error:
            if len(parts) == 1:
                parts[0][0].fail(error)
            # One of them may be at fault; the others are answered.
            for part in parts if len(parts) > 1 else ():
                self._answer(settings, [part])
        else:
            for (request, number), answer in zip(parts, answers, strict=True):
                request.store_answer(number, answer)
