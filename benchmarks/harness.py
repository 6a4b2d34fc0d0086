"""Shared by all benchmarks: rows of figures, how they are printed, and processes to measure in.

A benchmark is a module with ``run(size) -> list[Row]`` that ends in ``main(run, __doc__)``. What has to be measured
in a process of its own (a peak of memory, a cold start) is a *part*: a function of texts that returns plain data,
named to ``main`` and called by `in_child`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any, Literal

ROOT = Path(__file__).parents[1]
"""The project's root, where ``python -m benchmarks`` is run."""

SHARED = ROOT.parent / "shared"
"""Real data and tokenizer files; it may be absent."""

Size = Literal["small", "full"]
Part = Callable[..., dict[str, Any]]

_BEAT = 0.01  # seconds between two looks at a process' memory


@dataclass(frozen=True)
class Row:
    """A figure and what it is compared with.

    Attributes:
        benchmark: The module's name.
        what: What is measured, with its unit.
        figure: Ours; None where it could not be measured.
        peer: What people use today, in the same unit; None where there is nothing to compare with.
        ratio: How many times better than the peer ours is; None without a peer.
        bar: What has to be reached: by the ratio where there is a peer, else by the figure.
        met: Whether it is; None without a bar.
        unit: The figures' unit, for programs.
        note: What a reader should know of this row.
    """

    benchmark: str
    what: str
    figure: float | None
    peer: float | None
    ratio: float | None
    bar: float | None
    met: bool | None
    unit: str = ""
    note: str = ""


def row(
    benchmark: str,
    what: str,
    figure: float | None,
    *,
    peer: float | None = None,
    bar: float | None = None,
    higher_is_better: bool = True,
    unit: str = "",
    note: str = "",
) -> Row:
    """Makes a row with its ratio (above 1 where ours is better, whichever way that is) and its verdict.

    Args:
        benchmark: As in `Row`, as are the others.
        what: What is measured, with its unit.
        figure: Ours.
        peer: The peer's.
        bar: The least ratio; without a peer, the least figure, or the greatest where less is better.
        higher_is_better: Whether more of it is better.
        unit: The figures' unit.
        note: What a reader should know.
    """
    ratio = None
    if figure is None:
        return Row(benchmark, what, None, peer, None, bar, None, unit, note)
    if peer is not None:
        above, below = (figure, peer) if higher_is_better else (peer, figure)
        ratio = above / below if below else float("inf")
    met = None
    if bar is not None:
        met = ratio >= bar if ratio is not None else (figure >= bar if higher_is_better else figure <= bar)
    return Row(benchmark, what, figure, peer, ratio, bar, met, unit, note)


def main(run: Callable[[Size], list[Row]], description: str | None, **parts: Part) -> None:
    """Runs ``python -m benchmarks.NAME``: runs the benchmark, prints a table and a line of JSON for each row.

    Args:
        run: The benchmark.
        description: The module's docstring, for ``--help``.
        parts: What `in_child` may call instead: ``python -m benchmarks.NAME PART ARGUMENTS…``.
    """
    if len(sys.argv) > 1 and sys.argv[1] in parts:
        print(json.dumps(parts[sys.argv[1]](*sys.argv[2:])))
        return
    rows = run(parse_size(description))
    print_table(rows)
    print_lines(rows)


def parse_size(description: str | None) -> Size:
    """The one flag of every benchmark, from the command line."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=("small", "full"), default="small", help="how much data (default: small)")
    return parser.parse_args().size


def print_table(rows: Iterable[Row]) -> None:
    """Prints rows for people."""
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for name in ("benchmark", "what"):
        table.add_column(name)
    for name in ("ours", "peer", "ratio", "bar"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("met")
    verdicts = {True: "yes", False: "NO", None: ""}
    for result in rows:
        what = f"{result.what} ({result.note})" if result.note else result.what
        figures = (_figure(value) for value in (result.figure, result.peer, result.ratio, result.bar))
        table.add_row(result.benchmark, what, *figures, verdicts[result.met])
    # A pipe or a log is no reason to break lines in the middle of words.
    Console(width=None if sys.stdout.isatty() else 140, markup=False).print(table)


def print_lines(rows: Iterable[Row]) -> None:
    """Prints rows for programs, one JSON object a line."""
    for result in rows:
        print(json.dumps(asdict(result)))


def best_of(function: Callable[[], Any], repeats: int) -> float:
    """Seconds that the fastest of some calls takes."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def in_child(module: str, *args: object, watch: bool = False) -> dict[str, Any]:
    """Runs ``python -m module args`` from the project's root and reads the last line that it prints, as JSON.

    It is a fresh process whose caches (of tokens, of datasets) are empty folders of its own, and without a network.

    Args:
        module: Its full name, ``benchmarks.NAME``.
        args: Given as text.
        watch: Whether to add ``peak``: the most that `memory` of the process and those it starts came to. Watching
            costs a little time, so that seconds are measured in another run.

    Raises:
        subprocess.CalledProcessError: Where it fails; what it said on stderr is printed there.
    """
    command = [sys.executable, "-m", module, *map(str, args)]
    with tempfile.TemporaryDirectory() as cache:
        own = {"XDG_CACHE_HOME": cache, "HF_HOME": f"{cache}/huggingface", "HF_HUB_OFFLINE": "1"}
        pipe = subprocess.PIPE
        with subprocess.Popen(command, cwd=ROOT, env=os.environ | own, stdout=pipe, stderr=pipe, text=True) as child:
            watcher = _Watcher(child.pid) if watch else None
            output, complaints = child.communicate()
            peak = watcher.stop() if watcher else None
    if child.returncode:
        print(complaints, file=sys.stderr)
        raise subprocess.CalledProcessError(child.returncode, command, output, complaints)
    result = json.loads(output.rstrip().rpartition("\n")[2])
    return result if peak is None else result | {"peak": peak}


def memory(pid: int) -> float:
    """Measures the memory of a process and all its children, in MB (10⁶ bytes).

    What several of them share counts once. Pages of mapped files do not count, since the system drops them where it
    needs room, and those of libraries are shared with whatever else runs.
    """
    bytes_held = 0
    pids = [pid]
    for process in pids:  # grows as it goes
        try:
            for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
                if line.startswith(("Pss_Anon:", "Pss_Shmem:")):
                    bytes_held += 1024 * int(line.split()[1])
            for task in Path(f"/proc/{process}/task").iterdir():
                pids += map(int, (task / "children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):  # it has ended
            continue
    return bytes_held / 1e6


class _Watcher:
    """Records the peak of a process' memory until it is stopped."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.peak = 0.0
        self._end = Event()
        self._thread = Thread(target=self._watch)
        self._thread.start()

    def stop(self) -> float:
        self._end.set()
        self._thread.join()
        return self.peak

    def _watch(self) -> None:
        while not self._end.wait(_BEAT):
            self.peak = max(self.peak, memory(self.pid))


def _figure(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
