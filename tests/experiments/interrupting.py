"""Interrupts a command of this process while its child trains."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def ctrl_c_when(path: Path) -> Iterator[None]:
    """Interrupts this process, once, when a file has appeared."""
    over = threading.Event()
    main = threading.main_thread().ident
    assert main is not None

    def watch() -> None:
        while not (path.exists() or over.is_set()):
            time.sleep(0.01)
        if not over.is_set():
            signal.pthread_kill(main, signal.SIGINT)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
