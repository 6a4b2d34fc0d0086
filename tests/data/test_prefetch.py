from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from qa_lightning.data.prefetch import DEPTH, PrefetchLoader, prefetch


def test_items_come_in_their_order() -> None:
    assert list(prefetch(range(50))) == list(range(50))
    assert list(prefetch([])) == []
    assert list(PrefetchLoader([[1], [2]], batch_size=None)) == [[1], [2]]


def test_what_making_one_raises_is_raised_in_its_place() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise ValueError("the second one")

    items = prefetch(failing())
    assert next(items) == 1
    with pytest.raises(ValueError, match="the second one"):
        next(items)


def test_another_thread_makes_no_more_than_are_wanted() -> None:
    made: list[threading.Thread] = []
    ready = threading.Semaphore(0)

    def items() -> Iterator[int]:
        for number in range(100):
            made.append(threading.current_thread())
            ready.release()
            yield number

    wanted = prefetch(items())
    assert next(wanted) == 0
    # One was taken, DEPTH are ready, and one waits for its place.
    for _ in range(DEPTH + 2):
        assert ready.acquire(timeout=20)
    assert not ready.acquire(timeout=0.3)
    assert threading.current_thread() not in made
    wanted.close()
    assert not made[0].is_alive()
    assert len(made) <= DEPTH + 4
