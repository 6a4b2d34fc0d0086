from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qa_lightning.cli.main import main
from qa_lightning.experiments.curve_page import curve_page, what_more_data_brings
from qa_lightning.experiments.learning_curve import LearningCurve, Point
from qa_lightning.experiments.power_law import forecast
from qa_lightning.experiments.subsets import nested_subsets
from qa_lightning.report.experiment_page import render_experiment
from qa_lightning.runs.questions import read_questions
from qa_lightning.runs.spread import Spread
from tests.cli.mistakes import error_of
from tests.commands import last_checkpoint
from tests.experiments.interrupting import ctrl_c_when
from tests.experiments.processes import Begun, short_training
from tests.experiments.test_power_law import noisy
from tests.tiny import tiny_folder, write_squad

# --- nested subsets


def test_shares_by_hand() -> None:
    # Four paragraphs of two questions each: shares are of a quarter each.
    groups = np.repeat([5, 9, 2, 7], 2)
    sizes = [int(chosen.sum()) for chosen in nested_subsets(groups, [0.01, 0.3, 0.4, 0.7, 1.0])]
    assert sizes == [2, 2, 4, 6, 8]


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=60),
    st.lists(st.floats(0.001, 1), min_size=2, max_size=5),
    st.integers(0, 99),
)
def test_a_smaller_share_is_contained_in_a_larger_one_and_paragraphs_are_whole(
    groups: list[int], fractions: list[float], seed: int
) -> None:
    found = nested_subsets(np.array(groups), [*sorted(fractions), 1.0], seed=seed)
    for smaller, larger in itertools.pairwise(found):
        assert not (smaller & ~larger).any()
    assert found[-1].all()
    for chosen in found:
        assert chosen.any()
        for group in set(groups):
            assert len(set(chosen[np.array(groups) == group].tolist())) == 1


def test_seeds_draw_other_paragraphs() -> None:
    groups = np.arange(100)
    first, second = (nested_subsets(groups, [0.5], seed=seed)[0] for seed in (0, 1))
    assert first.sum() == second.sum() == 50
    assert 10 < (first & second).sum() < 40


# --- the command


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and questions on three paragraphs, which are there twice."""
    folder = tmp_path_factory.mktemp("curve")
    tiny_folder(folder / "model")
    write_squad(folder / "squad.json", impossible=True, copies=2)
    return folder


@pytest.fixture(scope="module")
def command(place: Path) -> list[str]:
    flags = short_training(place / "model", place / "squad.json", place / "squad.json", epochs=2)
    return ["curve", "--fractions", "1,0.4", "--seeds", "2", *flags, "--output"]


NAMES = [f"fraction-{fraction}-seed-{seed}" for fraction in ("0.4", "1") for seed in (0, 1)]


@pytest.fixture(scope="module")
def trained(place: Path, command: list[str], begun: Begun) -> Path:
    """A curve that was interrupted in its third training, and went on."""
    folder = place / "curve"
    with ctrl_c_when(folder / NAMES[2] / "checkpoints/last.ckpt"):
        assert main([*command, str(folder)]) == 130
    assert not (folder / "curve.parquet").exists()
    assert main([*command, str(folder)]) == 0
    assert begun.fits() == [*NAMES[:3], *NAMES[2:]]
    return folder


@pytest.mark.slow
def test_a_row_for_each_training_with_its_scores(trained: Path) -> None:
    rows = pq.read_table(trained / "curve.parquet").to_pylist()
    assert [row["run"] for row in rows] == NAMES
    assert [(row["fraction"], row["questions"]) for row in rows] == [(0.4, 6), (0.4, 6), (1.0, 18), (1.0, 18)]
    for row in rows:
        assert row["f1"] == pytest.approx(np.mean(read_questions(trained / row["run"])["f1"].to_numpy()))
    page = (trained / "curve.html").read_text(encoding="utf-8")
    assert "2 sizes do not determine a power law" in page
    assert all(f"{np.mean([row['f1'] for row in rows[part]]):.2f}" in page for part in (slice(2), slice(2, 4)))


@pytest.mark.slow
def test_a_training_that_was_interrupted_is_the_one_that_fit_does(
    trained: Path, command: list[str], begun: Begun, tmp_path: Path
) -> None:
    flags = command[command.index("--model.model_name_or_path") : -1]
    flags += ["--data.train_file", str(trained / "data/all.parquet"), "--seed_everything", "0"]
    assert main(["fit", *flags, "--run_dir", str(tmp_path / "run")]) == 0
    found, expected = (last_checkpoint(run)["state_dict"] for run in (trained / NAMES[2], tmp_path / "run"))
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.slow
def test_each_seed_trains_on_questions_that_its_larger_share_holds(trained: Path) -> None:
    every = pq.read_table(trained / "data/all.parquet")["id"].to_pylist()
    shares = [pq.read_table(trained / f"data/{name}.parquet")["id"].to_pylist() for name in NAMES[:2]]
    assert len(every) == 18
    assert all(set(share) < set(every) for share in shares)
    assert len({name.split("-")[1] for name in shares[0]}) == 1  # one paragraph, whole


@pytest.mark.slow
def test_shares_of_the_synthetic_corpus_are_scored_on_its_validation_questions(
    place: Path, begun: Begun, tmp_path: Path
) -> None:
    flags = ["--data.synthetic", "{train_passages: 4, validation_passages: 2}", "--data.max_length", "48"]
    flags += ["--data.max_question_length", "24", *short_training(place / "model", None, None)[:4]]
    flags += ["--data.version_2_with_negative", "true", "--data.doc_stride", "8", "--trainer.accelerator", "cpu"]
    flags += ["--trainer.max_steps", "1"]
    command = ["curve", "--fractions", "0.5,1", "--seeds", "1", *flags, "--output", str(tmp_path / "curve")]
    begun.most = 0
    assert main([*command, "--workers", "2"]) == 0
    assert begun.most == 2
    rows = pq.read_table(tmp_path / "curve/curve.parquet").to_pylist()
    assert [row["questions"] for row in rows] == [8, 16]
    assert read_questions(tmp_path / "curve" / rows[0]["run"])["id"].to_pylist()[0] == "validation-0-0"


@pytest.mark.slow
def test_a_folder_of_another_experiment_is_refused(
    trained: Path, command: list[str], begun: Begun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained, tmp_path / "curve")
    flags = command[command.index("--model.model_name_or_path") : -1]
    assert "is a folder of curve;" in error_of(["seeds", *flags, "--output", str(tmp_path / "curve")], capsys)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").touch()
    error = error_of([*command, str(tmp_path / "other")], capsys)
    assert "other: not empty, and no folder of curve; name a new one with --output" in error


@pytest.mark.parametrize("fractions", ["1", "0,1", "0.5,1.5", "0.5,nan", "0.5,0.5", "half,1"])
def test_what_are_no_shares(fractions: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = error_of(["curve", "--fractions", fractions, "--output", str(tmp_path / "new")], capsys)
    assert "0.05,0.25,1" in error
    assert not (tmp_path / "new").exists()


# --- the page


def made_up_curve(deviation: float) -> LearningCurve:
    sizes = np.array([100.0, 500.0, 2500.0, 10_000.0])
    means = 80 - 20 * (sizes / 10_000) ** -0.25
    points = [
        Point(
            size / 10_000,
            size,
            {
                name: Spread((mean - 1, mean, mean + 1), mean, 1.0, (mean - 2, mean + 2), (mean - 3, mean + 3))
                for name in ("f1", "exact_match")
            },
        )
        for size, mean in zip(sizes.tolist(), means.tolist(), strict=True)
    ]
    found = forecast(sizes, means, noisy(sizes, means, deviation))
    return LearningCurve(points, {"f1": found, "exact_match": found}, 3, 500)


def test_the_page_says_what_more_data_would_bring_and_when_nobody_knows() -> None:
    # 20 − 20 / 2 ** 0.25
    text = render_experiment(curve_page("curve", made_up_curve(0.05), "curve"))
    assert "What twice the data (20,000 questions) would bring in F1: +3.18 by a power law, 95 % interval +" in text
    assert "the power law goes on to twice the data" in text
    first, _ = what_more_data_brings(made_up_curve(40.0))
    assert "is not determined: +3.18 by a power law" in first
    assert first.endswith("do not tell whether more data would bring anything.")
