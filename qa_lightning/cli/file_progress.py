"""Shows how many files of a folder were read: as a bar on a terminal, as a line now and then elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from qa_lightning.utils.pace import Interval, Pace, share, stamped


class WatchedTexts(Mapping[str, str]):
    """Texts by name, that report when one is read.

    Args:
        texts: The texts.
        report: Called with how many were read, after each.
    """

    def __init__(self, texts: Mapping[str, str], report: Callable[[int], None]) -> None:
        self.texts = texts
        self.report = report
        self.done = 0

    def __getitem__(self, name: str) -> str:
        text = self.texts[name]
        self.done += 1
        self.report(self.done)
        return text

    def __iter__(self) -> Iterator[str]:
        return iter(self.texts)

    def __len__(self) -> int:
        return len(self.texts)


@contextmanager
def reading(texts: Mapping[str, str], passes: int = 1) -> Iterator[WatchedTexts]:
    """Shows how far texts are read, on standard error; on Ctrl-C, a line says how far that was.

    Args:
        texts: The texts, by name.
        passes: How often each is going to be read.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    total = passes * len(texts)
    console = Console(stderr=True)
    pace, interval = Pace(), Interval()
    columns = (TextColumn("files read"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=total)

        def report(done: int) -> None:
            progress.update(task, completed=done)
            if not console.is_terminal and interval.is_over():
                line = ", ".join([f"files read {share(done, total)}", *pace.texts(done, total, "file")])
                print(stamped(line), file=sys.stderr, flush=True)

        watched = WatchedTexts(texts, report)
        try:
            yield watched
            watched.report = lambda _: None  # what reads them later is another piece of work
        except KeyboardInterrupt:
            progress.stop()
            print(f"stopped after reading {watched.done:,} of {total:,} files; no answers", file=sys.stderr)
            raise
