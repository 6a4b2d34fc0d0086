"""What all benchmarks share: ratios and verdicts, what is printed, and processes to measure in."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import __main__ as everything
from benchmarks import harness
from benchmarks.harness import Row, best_of, in_child, main, row
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("figure", "peer", "bar", "higher_is_better", "ratio", "met"),
    [
        (30.0, 10.0, 3, True, 3.0, True),
        (29.0, 10.0, 3, True, 2.9, False),
        (2.0, 10.0, 5, False, 5.0, True),
        (4.0, 10.0, 5, False, 2.5, False),
        (0.0, 10.0, 5, False, math.inf, True),
        (5.0, 10.0, None, True, 0.5, None),
        (3.0, None, 3, True, None, True),
        (2.9, None, 3, True, None, False),
        (3.0, None, 3, False, None, True),
        (3.1, None, 3, False, None, False),
        (0.0, None, 0, False, None, True),
        (3.0, None, None, True, None, None),
    ],
)
def test_a_ratio_above_one_is_better_and_meets_its_bar(
    figure: float, peer: float | None, bar: float | None, higher_is_better: bool, ratio: float | None, met: bool | None
) -> None:
    made = row("name", "what", figure, peer=peer, bar=bar, higher_is_better=higher_is_better, unit="s", note="so")
    assert made == Row("name", "what", figure, peer, ratio, bar, met, "s", "so")


def test_a_benchmark_prints_a_table_and_a_line_for_each_row(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        row("one", "things per second", 1234.5, peer=100, bar=5, note="[odd] notes"),
        row("one", "MB", 2, bar=1, higher_is_better=False),
    ]
    asked = []
    monkeypatch.setattr(sys, "argv", ["benchmarks.one", "--size", "full"])
    main(lambda size: asked.append(size) or rows, "What it is.")
    assert asked == ["full"]
    *table, first, second = capsys.readouterr().out.splitlines()
    assert [Row(**json.loads(line)) for line in (first, second)] == rows
    (line,) = (line for line in table if "things per second" in line)
    what = "things per second ([odd] notes)"
    assert [cell.strip() for cell in line.split("│")[1:-1]] == ["one", what, "1,234", "100", "12.35", "5", "yes"]
    (line,) = (line for line in table if "MB" in line)
    assert [cell.strip() for cell in line.split("│")[1:-1]] == ["one", "MB", "2", "", "", "1", "NO"]


def test_the_size_is_small_unless_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(sys, "argv", ["benchmarks.one"])
    main(lambda size: asked.append(size) or [], "What it is.")
    assert asked == ["small"]


def test_a_part_is_called_instead_and_prints_what_it_returns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmarks.one", "half", "a", "b"])
    main(lambda size: pytest.fail("not asked for"), "What it is.", half=lambda *args: {"given": args})
    assert json.loads(capsys.readouterr().out) == {"given": ["a", "b"]}


def test_the_fastest_call_counts() -> None:
    calls: list[int] = []
    seconds = best_of(lambda: calls.append(0), 3)
    assert len(calls) == 3
    assert 0 <= seconds < 1


MODULE = """
import json, os, pathlib, sys
caches = [os.environ[name] for name in ("XDG_CACHE_HOME", "HF_HOME")]
pathlib.Path(caches[0], "something").touch()
held = bytes(range(256)) * (int(sys.argv[1]) * 4000)
child = os.fork()
if not child:
    more = bytes(range(256)) * (int(sys.argv[1]) * 4000)
    import time; time.sleep(0.3)
    os._exit(0)
os.waitpid(child, 0)
print("words")
print(json.dumps({"arguments": sys.argv[1:], "caches": caches, "offline": os.environ["HF_HUB_OFFLINE"]}))
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A program that holds some MB, twice: in itself and in a process that it starts."""
    (tmp_path / "some_program.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "some_program"


def test_a_child_begins_with_empty_caches(module: str) -> None:
    first, second = (in_child(module, number, Path("x")) for number in (1, 2))
    assert first["arguments"] == ["1", "x"]
    assert second["arguments"] == ["2", "x"]
    assert first["offline"] == "1"
    assert not set(first["caches"]) & set(second["caches"])
    assert not any(Path(folder).exists() for folder in (*first["caches"], *second["caches"]))
    assert "peak" not in first


def test_the_peak_counts_what_a_process_and_its_children_hold_once(module: str) -> None:
    little, much = (in_child(module, number, watch=True)["peak"] for number in (1, 60))
    # 59 pieces of 1.024 MB more, in each of two processes; what the first has before it forks is shared.
    assert much - little == pytest.approx(2 * 59 * 1.024, abs=6)


def test_memory_grows_by_what_is_made() -> None:
    # In a process of its own: one that has done other things has memory to spare.
    program = (
        "import os; from benchmarks.harness import memory; before = memory(os.getpid()); "
        "made = bytes(range(256)) * 200_000; print(memory(os.getpid()) - before)"
    )
    output = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True)
    assert float(output.stdout) == pytest.approx(51.2, abs=3)


def test_a_failing_child_is_an_error_that_shows_what_it_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "failing_program.py").write_text("raise RuntimeError('out of luck')", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(subprocess.CalledProcessError):
        in_child("failing_program")
    assert "out of luck" in capsys.readouterr().err


def test_all_benchmarks_are_run_even_if_one_crashes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = {"a": [row("a", "first", 1, bar=2)], "c": [row("c", "last", 2)]}

    def rows_of(benchmark: str, size: harness.Size) -> list[Row]:
        assert size == "small"
        if benchmark not in made:
            raise subprocess.CalledProcessError(1, benchmark)
        return made[benchmark]

    monkeypatch.setattr(sys, "argv", ["benchmarks"])
    monkeypatch.setattr(everything, "BENCHMARKS", ("a", "b", "c"))
    monkeypatch.setattr(everything, "rows_of", rows_of)
    assert everything.main() == 1
    printed = capsys.readouterr()
    assert [Row(**json.loads(line)) for line in printed.out.splitlines()[-2:]] == [*made["a"], *made["c"]]
    assert printed.err.splitlines()[-1] == "failed: b"
    monkeypatch.setattr(everything, "BENCHMARKS", ("a", "c"))
    assert everything.main() == 0  # a bar that is not met is no failure


def test_rows_of_a_benchmark_come_from_a_fresh_process() -> None:
    rows = everything.rows_of("scoring", "small")
    assert [measured.benchmark for measured in rows] == ["scoring"]


@pytest.mark.parametrize("benchmark", everything.BENCHMARKS)
def test_every_benchmark_is_there(benchmark: str) -> None:
    assert (ROOT / "benchmarks" / f"{benchmark}.py").is_file()
