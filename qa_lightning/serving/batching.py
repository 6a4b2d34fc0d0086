"""Answers many requests with one model: those that wait while it is busy are answered together."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Hashable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any

from qa_lightning.reader.documents import DocumentReading
from qa_lightning.reader.inputs import Pair
from qa_lightning.reader.reader import Reader
from qa_lightning.reader.settings import Settings
from qa_lightning.serving.limits import DocumentRequest

BLOCK_CHARACTERS = 1 << 16
"""Characters of questions and contexts that are answered together, or one question where that has more; what comes in
meanwhile waits no longer than these take."""


class _Request:
    """Questions that are answered to one asker.

    Attributes:
        settings: How to answer them.
        taken: How many parts were given to the model.
        done: Where the asker gets all answers.
    """

    def __init__(self, pairs: Sequence[Pair], settings: Settings) -> None:
        self.settings = settings
        self.taken = 0
        self.done: Future[list[Any]] = Future()
        self._pairs = pairs
        self._answers: list[Any] = [None] * len(pairs)
        self._missing = len(pairs)

    @property
    def parts(self) -> int:
        """How many parts it has: a question with its context each."""
        return len(self._pairs)

    def pair(self, number: int) -> Pair:
        """A question with its context."""
        return self._pairs[number]

    def group(self, number: int) -> Hashable:
        """A part goes together with those that have the same."""
        return self.settings

    def store_answer(self, number: int, answer: Any) -> None:
        self._answers[number] = answer
        self._missing -= 1
        if not self._missing:
            self.finish(self._answers)

    def finish(self, answers: list[Any]) -> None:
        with suppress(InvalidStateError):  # the asker has gone
            self.done.set_result(answers)

    def fail(self, error: Exception) -> None:
        with suppress(InvalidStateError):  # the asker has gone, or another of the questions has failed
            self.done.set_exception(error)


class _DocumentsRequest(_Request):
    """Questions that are answered from many documents to one asker; every document is a part, in every pass."""

    def __init__(self, asked: DocumentRequest, settings: Settings, reading: DocumentReading) -> None:
        super().__init__([Pair(pair.question, pair.context) for pair in asked.pairs], settings)
        self._asked = asked.pairs
        self._reading = reading
        self._unread = self.parts

    @property
    def parts(self) -> int:
        return len(self._pairs) * self._reading.passes

    def pair(self, number: int) -> Pair:
        return self._pairs[number % len(self._pairs)]

    def group(self, number: int) -> Hashable:
        return id(self), self._pass(number)

    def read(self, numbers: Sequence[int]) -> None:
        """Reads parts of one pass, and answers where they are the last ones."""
        try:
            pairs = [self._asked[number % len(self._asked)] for number in numbers]
            self._reading.read(pairs, self._pass(numbers[0]))
            self._unread -= len(numbers)
            if not self._unread:
                self.finish(self._reading.results())
        except Exception as error:
            self.fail(error)

    def _pass(self, number: int) -> int:
        return number // len(self._asked)


_Part = tuple[_Request, int]
"""One question with its context: a request and its number in it."""


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
        return self._ask(_Request(pairs, settings))

    def ask_documents(self, asked: DocumentRequest, settings: Settings) -> Future[list[Any]]:
        """Puts questions about documents in the queue; documents take turns as questions do.

        Args:
            asked: The questions, with at least one document, or none.
            settings: How to answer them.

        Returns:
            As `ask` does.

        Raises:
            UserError: Where they cannot be answered so.
        """
        self.reader.scorer.check(settings)
        reading = DocumentReading(self.reader.scorer, asked.questions, settings, asked.names)
        request = _DocumentsRequest(asked, settings, reading)
        if not asked.pairs:
            request.finish([])
            return request.done
        return self._ask(request)

    def _ask(self, request: _Request) -> Future[list[Any]]:
        with self._changed:
            self._waiting.append(request)
            self._changed.notify()
        return request.done

    def _work(self) -> None:
        while not self._closed:
            together: dict[Hashable, list[_Part]] = {}
            for request, number in self._next_block():
                together.setdefault(request.group(number), []).append((request, number))
            for parts in together.values():
                request = parts[0][0]
                if isinstance(request, _DocumentsRequest):
                    request.read([number for _, number in parts])
                else:
                    self._answer(request.settings, parts)

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
                characters += sum(map(len, request.pair(request.taken)))
                request.taken += 1
                if request.taken < request.parts:
                    self._waiting.append(request)
        return block

    def _answer(self, settings: Settings, parts: list[_Part]) -> None:
        questions, contexts = zip(*(request.pair(number) for request, number in parts), strict=True)
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
