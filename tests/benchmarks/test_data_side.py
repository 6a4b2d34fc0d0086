"""The benchmarks of what comes before the model: on a few questions, and that both sides do the same work.

How long anything takes here says nothing.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import collate, data, featurize, harness, padding, scoring, warm_start
from benchmarks import memory as memory_benchmark
from benchmarks.harness import Row
from qa_lightning.data.sources import rows_to_examples
from tests.benchmarks.children import in_fork

COUNT = 60


def sound(rows: list[Row], benchmark: str) -> bool:
    """Whether there are rows of this benchmark, with finite figures and the right verdicts."""
    assert rows
    for row in rows:
        assert row.benchmark == benchmark
        assert all(math.isfinite(value) for value in (row.figure, row.peer, row.ratio) if value is not None)
        assert (row.met is None) == (row.bar is None)
    return True


@pytest.fixture(params=["real", "made"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Real questions and BERT's tokenizer, and, in their absence, the package's own."""
    if request.param == "real":
        request.getfixturevalue("shared")
    else:
        monkeypatch.setattr(data, "SHARED", Path("nowhere"))
    return request.param


def test_the_peer_makes_the_same_windows_and_labels(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from datasets import load_from_disk

    monkeypatch.setattr(featurize, "MAX_LENGTH", 160)  # so that many a context takes several windows
    monkeypatch.setattr(featurize, "DOC_STRIDE", 40)
    rows, fast = data.squad_shaped(200), data.tokenizer()
    featurize.write_inputs(200, tmp_path)
    features = featurize.peer_features(load_from_disk(tmp_path / "rows"), fast)
    windows = featurize.our_windows(rows_to_examples(rows, source="rows").table, fast, tmp_path / "cache")
    assert len(features) == len(windows) > 220
    batch = windows[np.arange(len(windows))]
    widths = batch.inputs["attention_mask"].sum(1).tolist()
    for i, (feature, width) in enumerate(zip(features, widths, strict=True)):
        for name in ("input_ids", "token_type_ids", "attention_mask"):
            assert len(feature[name]) == 160
            assert feature[name][:width] == batch.inputs[name][i, :width].tolist()
            assert not any(feature[name][width:])
        assert (feature["start_positions"], feature["end_positions"]) == (batch.starts[i, 0], batch.ends[i, 0])
    assert 0 < sum(feature["start_positions"] == 0 for feature in features) < 100


def test_featurize_measures_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(featurize.QUESTIONS, "small", COUNT)
    calls: list[tuple[Any, ...]] = []

    def in_child(module: str, *call: Any, watch: bool = False) -> dict[str, Any]:
        part, folder, *rest = call
        calls.append((part, *rest, watch))
        measured = {"ours": featurize.ours, "peer": featurize.peer}[part](folder, *map(str, rest))
        assert measured["windows"] >= COUNT
        return measured | ({"peak": measured["imports"] + 1 + len(calls)} if watch else {})

    monkeypatch.setattr(featurize, "in_child", in_child)
    rows = featurize.run("small")
    assert sound(rows, "featurize")
    assert [call[:-1] for call in calls] == 2 * [("ours",), ("peer", 1), ("peer", 2)]
    rate, peak = rows
    assert rate.ratio == rate.figure / rate.peer
    assert (peak.figure, peak.peer, peak.ratio) == pytest.approx((5, 6, 1.2))


@pytest.mark.slow
def test_a_part_runs_in_a_process_of_its_own(tmp_path: Path) -> None:
    featurize.write_inputs(COUNT, tmp_path)
    measured = harness.in_child("benchmarks.featurize", "ours", tmp_path, watch=True)
    assert measured["windows"] >= COUNT
    assert measured["seconds"] > 0
    assert measured["peak"] > measured["imports"] > 10


@pytest.mark.slow
def test_warm_start_comes_to_its_first_batch(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(warm_start.QUESTIONS, "small", COUNT)
    monkeypatch.setattr(warm_start, "REPEATS", 1)
    monkeypatch.setattr(warm_start, "in_child", in_fork)
    rows = warm_start.run("small")
    assert sound(rows, "warm_start")
    assert [row.bar for row in rows] == [None, 3, 3, 3]


def test_collate_counts_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(collate.QUESTIONS, "small", COUNT)
    rows = collate.run("small")
    assert sound(rows, "collate")
    assert len(rows) == 2
    assert all(row.figure > 0 for row in rows)


def test_padding_of_few_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(padding.QUESTIONS, "small", COUNT)
    rows = padding.run("small")
    assert sound(rows, "padding")
    assert [row.bar for row in rows] == 2 * [None, 0, None]
    assert all(0 <= row.figure <= 100 for row in rows)


def test_pad_share_by_hand() -> None:
    lengths = np.array([4, 2, 3, 3])
    # [4, 2] is padded to 8 positions and [3, 3] to 6; 12 of the 14 hold tokens.
    assert padding.pad_share(lengths, [np.array([0, 1]), np.array([2, 3])]) == pytest.approx(2 / 14)


def test_batches_and_neighbours_by_hand() -> None:
    first = [np.array([0, 1, 2]), np.array([3, 4, 5])]
    second = [np.array([2, 1, 0]), np.array([3, 4]), np.array([5])]
    assert padding.shared_batches(first, second) == 1
    # Of six pairs of neighbours, the three of the first batch and 3–4 remain.
    assert padding.kept_neighbours(first, second) == pytest.approx(4 / 6)
    assert padding.kept_neighbours(first, [np.array([0, 3]), np.array([1, 4]), np.array([2, 5])]) == 0


def test_memory_lists_its_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(memory_benchmark.QUESTIONS, "small", COUNT)
    monkeypatch.setattr(memory_benchmark, "in_child", in_fork)
    rows = memory_benchmark.run("small")
    assert sound(rows, "memory")
    (peak,) = rows
    assert 0.1 < peak.figure < 4
    assert all(stage in peak.note for stage in ("imports", "reading", "windows", "an epoch of batches"))


@pytest.mark.parametrize("real", [True, False])
def test_scoring_agrees_with_torchmetrics(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, real: bool
) -> None:
    if real:
        request.getfixturevalue("shared")
        assert scoring.real_questions()
    else:
        monkeypatch.setattr(scoring, "SHARED", Path("nowhere"))
    rows = scoring.run("small")
    assert sound(rows, "scoring")
    (seconds,) = rows
    assert seconds.ratio == seconds.peer / seconds.figure
    assert seconds.met == (seconds.ratio >= seconds.bar == 10)
    exact, f1 = (float(part.split()[-1]) for part in seconds.note.rsplit(":", 1)[1].split(","))
    assert 20 < exact < f1 < 90


def test_scoring_fails_where_the_scores_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "evaluate", lambda golds, predictions: {"exact": 1.0, "f1": 2.0})
    with pytest.raises(AssertionError, match="EM"):
        scoring.run("small")
