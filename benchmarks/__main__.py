"""All benchmarks, one after the other, each in a process of its own; one table and a line of JSON for each row.

The exit status is 1 where a benchmark failed to come to its end, whatever the figures of the others are.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time

from benchmarks.harness import ROOT, Row, Size, parse_size, print_lines, print_table

BENCHMARKS = (
    "featurize",
    "warm_start",
    "collate",
    "padding",
    "memory",
    "train",
    "overhead",
    "limit",
    "decode",
    "evaluate",
    "reader",
    "documents",
    "scoring",
    "serve",
)


def rows_of(benchmark: str, size: Size) -> list[Row]:
    """The rows that a benchmark prints, run in a fresh process.

    Raises:
        subprocess.CalledProcessError: Where it fails.
    """
    command = [sys.executable, "-m", f"benchmarks.{benchmark}", "--size", size]
    output = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    return [Row(**json.loads(line)) for line in output.splitlines() if line.startswith("{")]


def main() -> int:
    """Runs all and returns the exit status."""
    size = parse_size(__doc__)
    rows, crashed = [], []
    for benchmark in BENCHMARKS:
        start = time.monotonic()
        try:
            rows += rows_of(benchmark, size)
        except subprocess.CalledProcessError:
            crashed.append(benchmark)
        print(f"{benchmark}: {time.monotonic() - start:.0f} s", file=sys.stderr)
    print_table(rows)
    print_lines(rows)
    if crashed:
        print(f"failed: {', '.join(crashed)}", file=sys.stderr)
    return int(bool(crashed))


if __name__ == "__main__":
    sys.exit(main())
