"""Batches that a thread makes ahead of time, for columns that do not fit beside the model on a GPU."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from queue import Empty, Full, Queue
from typing import Any, TypeVar

from torch.utils.data import DataLoader

T = TypeVar("T")

DEPTH = 2
"""Batches that are ready at most."""

_PATIENCE = 0.1  # seconds after which the thread looks whether anybody still wants its batches


class PrefetchLoader(DataLoader[Any]):
    """A DataLoader whose batches a thread makes, and pins, while the GPU works on the ones before."""

    def __iter__(self) -> Any:
        """The batches in their order."""
        return ahead(super().__iter__())


def ahead(items: Iterable[T], depth: int = DEPTH) -> Iterator[T]:
    """The same items, made by a thread up to ``depth`` ahead; what making one raises is raised in its place.

    The thread ends with the items, or when the iterator is closed.
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
