"""Prefetches batches in a thread, for columns that do not fit beside the model on a GPU."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from queue import Empty, Full, Queue
from typing import Any, TypeVar

from torch.utils.data import DataLoader

T = TypeVar("T")

DEPTH = 2
"""Most batches that are ready at a time."""

_PATIENCE = 0.1  # seconds after which the thread looks whether anybody still wants its batches


class PrefetchLoader(DataLoader[Any]):
    """A DataLoader whose batches a thread makes, and pins, while the GPU works on the ones before."""

    def __iter__(self) -> Any:
        """The batches in their order."""
        return prefetch(super().__iter__())


def prefetch(items: Iterable[T], depth: int = DEPTH) -> Iterator[T]:
    """Makes items in a thread, up to ``depth`` ahead of the consumer.

    An exception is raised in the place of the item that caused it. The thread ends with the items, or when the iterator
    is closed.

    Args:
        items: The items.
        depth: Most items that are ready at a time.
    """
    ready: Queue[tuple[str, Any]] = Queue(depth)
    closed = threading.Event()

    def put(kind: str, value: Any) -> None:
        while not closed.is_set():
            try:
                ready.put((kind, value), timeout=_PATIENCE)
            except Full:
                continue
            return

    def make() -> None:
        try:
            for item in items:
                put("item", item)
                if closed.is_set():
                    return
        except BaseException as error:
            put("error", error)
        else:
            put("end", None)

    thread = threading.Thread(target=make, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            kind, value = ready.get()
            if kind == "end":
                return
            if kind == "error":
                raise value
            yield value
    finally:
        closed.set()
        while True:  # makes room, so that the thread need not wait out its patience
            try:
                ready.get_nowait()
            except Empty:
                break
        thread.join()
