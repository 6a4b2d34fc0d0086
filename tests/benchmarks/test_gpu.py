"""The benchmark on a GPU, as far as a CPU can show it: it gives figures, counts what it should, and never hangs."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import gpu, gpu_bars, gpu_plan, gpu_variants, limit, models, timed
from benchmarks.gpu_plan import MEANT_TO_FAIL, PEERS, PLANS, VARIANTS
from benchmarks.harness import Row
from benchmarks.models import TINY
from tests import forked
from tests.conftest import ROOT

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
]

CARD = {"name": "a card", "matrix_rate": 1e15, "torch": "2.9"}


def trained(pace: float, **figures: Any) -> dict[str, Any]:
    """What a variant that trains gives."""
    made = {"windows_per_s": pace, "operations_per_s": 4e14, "padding": 5.0, "first_step": 12.0, "warm_up": 9.0}
    return {**made, "windows": 6000, **figures}


# A process and its line


@pytest.mark.parametrize(
    ("output", "code", "figures"),
    [
        ('words\n{"windows_per_s": 1.5}\n', 0, {"windows_per_s": 1.5}),
        ('{"failed": "RuntimeError: so"}', 0, {"failed": "RuntimeError: so"}),
        ("", -9, {"failed": "ended by signal 9"}),
        ("words\n", 1, {"failed": "exit status 1 and no figures"}),
        ("3\n", 0, {"failed": "exit status 0 and no figures"}),
    ],
)
def test_the_last_line_holds_the_figures(output: str, code: int, figures: dict[str, Any]) -> None:
    assert gpu.parse_line(output, code) == figures


def test_a_process_that_hangs_is_killed_with_all_it_started(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    program = f"""
import pathlib, subprocess, sys
other = subprocess.Popen([sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"])
pathlib.Path({str(pid_file)!r}).write_text(str(other.pid))
other.wait()
"""
    start = time.monotonic()
    assert gpu.in_time([sys.executable, "-c", program], os.environ, 3) == {"failed": "no figures within 3 s"}
    assert time.monotonic() - start < 60
    state = Path(f"/proc/{pid_file.read_text()}/stat")
    for _ in range(100):  # a process that was killed may wait for what looks after orphans
        if not state.is_file() or state.read_text().rpartition(")")[2].split()[0] in "ZX":
            return
        time.sleep(0.1)
    pytest.fail("it lives")


def test_a_process_that_crashes_says_what_it_said(capfd: pytest.CaptureFixture[str]) -> None:
    program = "import os, sys; print('out of luck', file=sys.stderr); sys.stderr.flush(); os.abort()"
    assert gpu.in_time([sys.executable, "-c", program], os.environ, 60) == {"failed": "ended by signal 6"}
    assert "out of luck" in capfd.readouterr().err


def test_a_variant_that_fails_is_one_line(tmp_path: Path) -> None:
    assert gpu.of_child("fails", "distilbert", "dry", tmp_path, 0.0) == {"failed": "RuntimeError: as it should"}


def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    failed = gpu.of_child("card", "distilbert", "small", tmp_path, 0.0)
    assert failed == {"failed": "benchmarks.gpu needs a GPU, and torch finds none here"}
    monkeypatch.setattr(gpu, "run_variant", lambda *_: failed)
    with pytest.raises(SystemExit) as ended:
        gpu.run_all("small", [("distilbert", "ours")], None)
    assert ended.value.code == failed["failed"]  # text is exit status 1


def test_what_is_left_when_the_time_is_up_is_not_begun(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    limits = []

    def run(run: gpu.Run, size: str, folder: Path, limit: float) -> dict[str, Any]:
        limits.append(limit)
        now[0] += 65
        return trained(1000.0) if run[1] == "ours" else CARD

    now = [0.0]
    monkeypatch.setattr(gpu, "run_variant", run)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    assert gpu.run_all("small", [("distilbert", "ours"), ("roberta", "ours")], 135.0) == 1
    assert limits == [60, 60]
    assert "roberta, ours: failed: not begun, since the time was up\n" in capsys.readouterr().out


# What is chosen


def test_every_bars_command_is_one_that_there_is() -> None:
    results = (ROOT / "benchmarks/RESULTS.md").read_text(encoding="utf-8")
    commands = re.findall(r"`--models (\S+) --variants (\S+)`", results)
    assert len(commands) == len(gpu_bars.BARS)
    for bar, (model, variants) in zip(gpu_bars.BARS, commands, strict=True):
        assert bar.run in gpu_plan.chosen("full", [model], variants.split(","))


def test_small_asks_what_the_bars_ask_and_dry_walks_all() -> None:
    small, dry = PLANS["small"].runs, PLANS["dry"].runs
    derived = ("distilbert", "ours-epoch")
    assert {bar.run for bar in gpu_bars.BARS} - {derived} <= set(small)
    assert small[0] == ("distilbert", "ours")
    assert {variant for _, variant in dry} == set(VARIANTS) - set(gpu_plan.CARDS)
    assert {model for model, _ in dry} == set(gpu_plan.MODELS)
    assert not {variant for _, variant in PLANS["full"].runs} & set(MEANT_TO_FAIL)


def test_one_is_measured_again() -> None:
    assert gpu_plan.chosen("small", None, None) == gpu_plan.SMALL
    assert gpu_plan.chosen("small", ["roberta"], ["trainer-grouped-8"]) == [("roberta", "trainer-grouped-8")]
    peers = gpu_plan.chosen("full", ["distilbert"], ["ours", "peers"])
    assert [variant for _, variant in peers] == ["ours", *PEERS]
    models_of = {model for model, _ in gpu_plan.chosen("small", None, ["ours"])}
    assert models_of == set(gpu_plan.MODELS)
    for names in (["no-such"], ["hangs"]):
        with pytest.raises(SystemExit):
            gpu_plan.chosen("full", None, names)


# What comes out


def test_the_best_peer_is_the_fastest_that_ended() -> None:
    results = {
        ("distilbert", "ours"): trained(9000.0),
        ("distilbert", "trainer-grouped"): trained(800.0),
        ("distilbert", "trainer-padded-compiled"): trained(2000.0),
        ("distilbert", "trainer-padded"): {"failed": "no memory"},
        ("roberta", "trainer-grouped-8"): trained(3000.0),
    }
    assert gpu_bars.best_peer(results, "distilbert") == "trainer-padded-compiled"
    assert gpu_bars.best_peer(results, "roberta") == "trainer-grouped-8"
    assert gpu_bars.best_peer(results, "bert-large") is None


def bars(results: dict[gpu.Run, dict[str, Any]]) -> list[Row]:
    return gpu_bars.bars(results, CARD, PLANS["small"])


def test_bars_are_met_or_missed_by_what_was_measured() -> None:
    results = {
        ("distilbert", "ours"): trained(6500.0),
        ("distilbert", "ours-packed"): trained(6600.0, padding=0.0),
        ("distilbert", "ours-plain"): trained(600.0, padding=8.5),
        ("distilbert", "trainer-padded"): trained(1500.0),
        ("distilbert", "ours-epoch"): {"seconds": 39.0},
        ("distilbert", "ours-validated"): {"windows_per_s": 14_000.0, "operations_per_s": 1e14},
        ("bert-large", "ours"): {"failed": "no memory"},
    }
    rows = bars(results)
    assert [row.met for row in rows] == [True, False, None, None, None, None, True, False, False, True]
    assert rows[1].ratio == pytest.approx(6500 / 1500)
    assert rows[1].note == "trainer-padded, the best of 1"
    assert rows[2].note == "not measured"
    assert rows[4].note == "failed: no memory"
    assert rows[4].figure is None


def test_the_share_is_that_of_the_cards_matrix_rate() -> None:
    assert bars({("bert-large", "ours"): trained(700.0)})[5].figure == pytest.approx(40)


def test_a_peer_alone_makes_no_ratio() -> None:
    (beside,) = bars({("distilbert", "trainer-padded"): trained(1500.0)})[1:2]
    assert (beside.figure, beside.ratio, beside.met) == (None, None, None)
    assert bars({("distilbert", "ours"): trained(1500.0)})[1].met is None


def test_an_epoch_is_derived_from_a_cut_and_says_so() -> None:
    plan = PLANS["small"]
    results = {
        ("distilbert", "ours"): trained(1000.0),
        ("distilbert", "ours-validated"): {"windows_per_s": 2000.0, "windows": 2 * plan.validated},
    }
    row = bars(results)[6]
    windows = 6000 * 88_000 / plan.questions
    # The warm-up took 3 s more than its windows do.
    assert row.figure == pytest.approx(12 + 3 + windows / 1000 + 2 * 10_570 / 2000)
    assert row.note == "derived from a cut, not run"
    assert row.met is False


def test_every_variant_has_a_line_a_row_of_the_table_and_rows_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    results = {("distilbert", "ours"): trained(6500.0), ("roberta", "ours"): {"failed": "no memory"}}
    line = gpu_bars.format_figures(("distilbert", "ours"), results["distilbert", "ours"], CARD)
    assert line.startswith("distilbert, ours: 6,500 windows/s, 40 % of the matrix rate, 5 % padding, ")
    assert (
        gpu_bars.format_figures(("roberta", "ours"), results["roberta", "ours"], CARD)
        == "roberta, ours: failed: no memory"
    )
    gpu_bars.print_figures(results, CARD)
    first, second = (line for line in capsys.readouterr().out.splitlines() if "ours" in line)
    assert "6,500" in first
    assert "failed" in second
    rows = gpu_bars.figure_rows(results, CARD)
    assert [row.unit for row in rows[:3]] == ["TFLOP/s", "windows/s", "% of the matrix rate"]
    assert (rows[-1].figure, rows[-1].note) == (None, "failed: no memory")


# What is measured


class Event:
    """Stands for CUDA's: the GPU comes to each two milliseconds after the one before."""

    made = 0

    def __init__(self, *, enable_timing: bool) -> None:
        assert enable_timing

    def record(self) -> None:
        self.time = 2 * Event.made
        Event.made += 1

    def elapsed_time(self, other: Event) -> float:
        return other.time - self.time


def test_a_gpu_records_when_it_came_to_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    waited = []
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: waited.append(True))
    clock = timed.Clock("cuda")
    for _ in range(3):
        clock.look()
    assert not waited
    assert clock.seconds() == [0.0, 0.002, 0.004]
    assert waited


def test_work_is_that_of_each_window_alone(tmp_path: Path) -> None:
    network = models.make_module(models.write_model(TINY, tmp_path)).model
    lengths = np.array([20, 30, 20])
    alone = [limit.operations(network, 1, length) for length in (20, 30, 20)]
    assert limit.work(network, lengths, backward=True) == sum(alone) / 3
    assert limit.work(network, lengths, backward=False) == sum(alone) / 9


def test_the_pace_is_that_of_the_second_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = models.make_module(models.write_model(TINY, tmp_path)).model
    now = [100.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    recorder = timed.Recorder("cpu", began=90.0, longest=5.0)
    over = []
    for seconds in (3.0, 2.0):
        recorder.begin_epoch()
        for _ in range(4):
            recorder.begin_step()
            now[0] += seconds
            over.append(recorder.end_step(windows=4, tokens=100))
    figures = recorder.figures(network, np.array([20, 20]))
    assert figures["windows_per_s"] == 12 / 6
    assert figures["first_step"] == 10
    assert figures["warm_up"] == 12
    assert figures["padding"] == pytest.approx(100 * (1 - 16 * 20 / 400))
    assert figures["operations_per_s"] == 2 * limit.operations(network, 1, 20)
    assert over == [False] * 6 + [True] * 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gpu")


@pytest.mark.parametrize("model", gpu_plan.MODELS)
def test_windows_of_long_contexts_are_full(folder: Path, model: str) -> None:
    task = gpu_variants.Task(VARIANTS["ours"], gpu_plan.MODELS[model], "small", folder, 0.0)
    task.plan = task.plan._replace(questions=40, long_questions=2)
    data = task.training_data()
    data.setup("fit")
    lengths = data.splits["train"][0].dataset.lengths
    full = np.mean(lengths == task.lengths["max_length"])
    assert full > 0.8 if task.model.joined > 1 else full < 0.1
    assert data.batch_size == (64 if model == "bert-large" else 8 if model == "modernbert-4096" else 32)


def test_ours_is_given_nothing_that_is_not_the_variants(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = []
    monkeypatch.setattr(models, "make_module", lambda _, **options: given.append(options))
    for name in ("ours", "ours-plain", "ours-validated", "trainer-padded"):
        gpu_variants.Task(VARIANTS[name], gpu_plan.MODELS["distilbert"], "dry", folder, 0.0).module()
    lengths = gpu_variants.DRY_LENGTHS
    assert given == [lengths, lengths | {"packing": False, "torch_compile": False}, lengths, lengths]


def test_a_packed_batch_has_less_filler_than_a_padded_one_has_padding(folder: Path) -> None:
    given = []
    for name in ("ours-plain", "ours-packed"):
        task = gpu_variants.Task(VARIANTS[name], gpu_plan.MODELS["distilbert"], "dry", folder, 0.0)
        with models.quiet():
            given.append(task.train()["padding"])
    assert given[0] > given[1] >= 0


DRY = """
import sys
from benchmarks import gpu, gpu_plan
few = {"questions": 5, "validated": 4, "epoch": 5}
gpu_plan.PLANS["dry"] = gpu_plan.PLANS["dry"]._replace(**few)
sys.exit(gpu.main())
"""
"""The program with fewer questions yet, in all variants that it does not start a process for."""


@pytest.mark.slow
def test_a_dry_run_walks_all_of_it() -> None:
    done = forked.run(["-c", DRY, "--dry"])
    assert done.returncode == 0, done.stderr
    rows = [Row(**json.loads(line)) for line in done.stdout.splitlines() if line.startswith("{")]
    failed = [row.what for row in rows if row.note.startswith("failed")]
    assert failed == [f"DistilBERT, {name}" for name in MEANT_TO_FAIL]
    for model, variant in PLANS["dry"].runs:
        if variant not in MEANT_TO_FAIL:
            what = f"{gpu_plan.MODELS[model].title}, {variant}"
            assert any(row.what == what and row.figure is not None and row.figure > 0 for row in rows), what
    for bar in rows[-len(gpu_bars.BARS) :]:
        assert bar.met is not None, bar
    assert any(row.note.startswith("trainer-") for row in rows)
