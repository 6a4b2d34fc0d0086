from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from qa_lightning.cli.main import main
from qa_lightning.runs.questions import read_questions, write_table
from tests.cli.mistakes import error_of
from tests.commands import last_checkpoint
from tests.experiments.interrupting import ctrl_c_when
from tests.experiments.processes import Begun, short_training
from tests.runs.test_comparison import table_of
from tests.tiny import tiny_folder
from tests.training import write_long


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and questions."""
    folder = tmp_path_factory.mktemp("seeds")
    tiny_folder(folder / "model")
    write_long(folder / "squad.json", copies=6)
    return folder


@pytest.fixture(scope="module")
def flags(place: Path) -> list[str]:
    training = short_training(place / "model", place / "squad.json", place / "squad.json", epochs=2)
    return [*training, "--model.config_overrides", "{hidden_dropout_prob: 0.3}"]


@pytest.fixture(scope="module")
def trained(place: Path, flags: list[str], begun: Begun) -> Path:
    """A folder of two seeds."""
    assert main(["seeds", "--output", str(place / "seeds"), "--seeds", "2", *flags]) == 0
    assert begun.fits() == ["seed-0", "seed-1"]
    return place / "seeds"


@pytest.mark.slow
def test_the_table_and_the_page_have_each_seeds_scores(trained: Path) -> None:
    rows = pq.read_table(trained / "seeds.parquet").to_pylist()
    assert [(row["seed"], row["run"]) for row in rows] == [(0, "seed-0"), (1, "seed-1")]
    for row in rows:
        metrics = json.loads((trained / row["run"] / "metrics.json").read_text())
        for name in ("f1", "exact_match", "HasAns_f1", "NoAns_exact"):
            assert row[name] == pytest.approx(metrics[f"val/{name}"], abs=1e-9)
        assert row["seconds"] > 0
    page = (trained / "seeds.html").read_text(encoding="utf-8")
    assert all(f"{row['f1']:.2f}" in page for row in rows)
    assert "python -m qa_lightning seeds \\\n  --output" in page


@pytest.mark.slow
def test_each_seed_is_another_training_as_fit_does_it(trained: Path) -> None:
    first, second = (last_checkpoint(trained / f"seed-{seed}")["state_dict"] for seed in (0, 1))
    assert any(not torch.equal(first[name], second[name]) for name in first)
    config = (trained / "seed-1/config.yaml").read_text()
    assert "seed_everything: 1\n" in config


@pytest.mark.slow
def test_more_seeds_are_added_and_none_is_trained_again(
    trained: Path, flags: list[str], begun: Begun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "seeds"
    shutil.copytree(trained, folder)
    before = len(begun.fits())
    assert main(["seeds", "--output", str(folder), "--seeds", "0,1,7", "--", "fit", *flags]) == 0
    assert begun.fits()[before:] == ["seed-7"]
    said = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in said[:3]] == ["1 of 3", "2 of 3", "3 of 3"]
    assert said[0].endswith("done before")
    assert "F1 " in said[2]
    assert pq.read_table(folder / "seeds.parquet")["seed"].to_pylist() == [0, 1, 7]


@pytest.mark.slow
def test_an_interrupted_experiment_goes_on_to_the_same_weights(
    trained: Path, flags: list[str], begun: Begun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["seeds", "--output", str(tmp_path / "seeds"), "--seeds", "2", *flags]
    before = len(begun.fits())
    with ctrl_c_when(tmp_path / "seeds/seed-1/checkpoints/last.ckpt"):
        assert main(command) == 130
    assert begun.last is not None
    assert begun.last.returncode == 130
    written = capsys.readouterr()
    assert written.err.startswith("Go on with the same command:\n  python -m qa_lightning seeds --output ")
    assert not (tmp_path / "seeds/seeds.parquet").exists()
    assert main(command) == 0
    assert begun.fits()[before:] == ["seed-0", "seed-1", "seed-1"]
    for seed in (0, 1):
        found, expected = (last_checkpoint(folder / f"seed-{seed}") for folder in (tmp_path / "seeds", trained))
        assert all(torch.equal(found["state_dict"][name], expected["state_dict"][name]) for name in found["state_dict"])


@pytest.mark.slow
def test_two_workers_train_the_same_also_where_both_were_interrupted(
    trained: Path, flags: list[str], begun: Begun, tmp_path: Path
) -> None:
    command = ["seeds", "--output", str(tmp_path / "seeds"), "--seeds", "2", "--workers", "2", *flags]
    before, begun.most = len(begun.fits()), 0
    with ctrl_c_when(tmp_path / "seeds/seed-1/checkpoints/last.ckpt"):
        assert main(command) == 130
    assert begun.most == 2
    assert not (tmp_path / "seeds/seeds.parquet").exists()
    assert main(command) == 0
    assert begun.fits()[before : before + 2] == ["seed-0", "seed-1"]
    assert "seed-1" in begun.fits()[before + 2 :]
    for seed in (0, 1):
        found, expected = (last_checkpoint(folder / f"seed-{seed}") for folder in (tmp_path / "seeds", trained))
        assert all(torch.equal(found["state_dict"][name], expected["state_dict"][name]) for name in found["state_dict"])
    ours, theirs = (pq.read_table(folder / "seeds.parquet") for folder in (tmp_path / "seeds", trained))
    assert ours.drop_columns("seconds") == theirs.drop_columns("seconds")


@pytest.mark.slow
def test_other_settings_are_refused_where_trainings_are(
    trained: Path, flags: list[str], begun: Begun, capsys: pytest.CaptureFixture[str]
) -> None:
    before = begun.fits()
    error = error_of(["seeds", "--output", str(trained), *flags, "--model.learning_rate", "0.5"], capsys)
    assert "was begun with other settings (model.learning_rate was 0.001, is 0.5 now)" in error
    assert begun.fits() == before


@pytest.mark.slow
def test_a_training_that_fails_ends_it_in_the_trainings_own_words(
    place: Path, begun: Begun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = short_training(place / "model", tmp_path / "nowhere.json", place / "squad.json")
    error = error_of(["seeds", "--output", str(tmp_path / "seeds"), *flags], capsys)
    assert "seed-0 failed (status 2)" in error
    assert "nowhere.json" in error
    assert str(tmp_path / "seeds/seed-0.log") in error


@pytest.mark.slow
def test_flags_that_fit_refuses_are_refused_before_anything_is_made(
    place: Path, begun: Begun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = error_of(["seeds", "--output", str(tmp_path / "seeds"), "--model.learnin_rate", "1"], capsys)
    assert "learnin_rate" in error
    assert "learning_rate" in error
    flags = short_training(place / "model", place / "squad.json", None)
    assert "nothing to score" in error_of(["seeds", "--output", str(tmp_path / "seeds"), *flags], capsys)
    assert "to the same model" in error_of(
        ["seeds", "--output", str(tmp_path / "seeds"), *flags, "--push_to_hub", "me/model"], capsys
    )
    assert not (tmp_path / "seeds").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds", "1"], "one seed has no spread"),
        (["--seeds", "two"], "'two' is neither a number of seeds nor a list of them, such as 0,1,2"),
        (["--seeds", "1,1"], "'1,1' is neither"),
        (["--seeds", "0"], "'0' is neither"),
        (["--seed_everything", "3"], "--seed_everything cannot be given here: the seeds are those of --seeds"),
        (["--", "--run_dir=x"], "--run_dir cannot be given here: each training has a folder of its own"),
        (["--ckpt_path", "last"], "--ckpt_path cannot be given here"),
        (["configs/quickstart.yaml"], "'configs/quickstart.yaml' is no flag"),
    ],
)
def test_mistakes_are_refused_at_once(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert message in error_of(["seeds", "--output", str(tmp_path / "new"), *arguments], capsys)
    assert not (tmp_path / "new").exists()


# --- compare takes folders of seeds


def write_seeds(folder: Path, *f1: list[float]) -> str:
    """A folder of seeds as `seeds` leaves it, as far as `compare` reads it."""
    for seed, scores in enumerate(f1):
        (folder / f"seed-{seed}").mkdir(parents=True)
        write_table(folder / f"seed-{seed}/per_question.parquet", table_of(scores, [0, 0, 1, 1]))
    pq.write_table(pa.table({"run": [f"seed-{seed}" for seed in range(len(f1))]}), folder / "seeds.parquet")
    return str(folder)


def test_compare_takes_folders_of_seeds_as_groups(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    a = write_seeds(tmp_path / "a", [0, 0, 100, 0], [0, 0, 100, 100])
    b = write_seeds(tmp_path / "b", [100, 100, 100, 0], [100, 100, 100, 100])
    assert main(["compare", a, b, "--output", str(tmp_path / "both.json")]) == 0
    said = capsys.readouterr().out
    assert f"A: {a}/seed-0, {a}/seed-1\n" in said
    assert "With seeds: runs are drawn, too." in " ".join(said.split())
    (comparison,) = json.loads((tmp_path / "both.json").read_text())["comparisons"]
    f1 = comparison["scores"]["f1"]
    assert (f1["a_runs"], f1["b_runs"], f1["difference"]) == ([25.0, 50.0], [75.0, 100.0], 50.0)
    # B is better by 100 on the first paragraph whatever the seeds, on the other by 0, or for single seeds by up to ±50.
    assert f1["interval"] == [0.0, 100.0]
    assert f1["interval_over_runs"] == [-50.0, 100.0]
    one_by_one = [f"{a}/seed-{seed}" for seed in (0, 1)]
    assert main(["compare", *one_by_one, "--vs", b, "--output", str(tmp_path / "vs.json")]) == 0
    assert (tmp_path / "vs.json").read_text() == (tmp_path / "both.json").read_text()


def test_compare_refuses_a_run_that_is_in_a_folder_of_seeds_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = write_seeds(tmp_path / "a", [0, 0, 100, 0], [0, 0, 100, 100])
    assert f"{a}/seed-1 is named twice" in error_of(["compare", a, f"{a}/seed-1"], capsys)
    (tmp_path / "a/seeds.parquet").write_bytes(b"PAR1")
    assert "a/seeds.parquet: not the table of a folder of seeds" in error_of(["compare", a, a], capsys)


@pytest.mark.slow
def test_compare_takes_what_seeds_has_written(trained: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(trained, other)
    assert main(["compare", str(trained), str(other), "--output", str(tmp_path / "out.json")]) == 0
    (comparison,) = json.loads((tmp_path / "out.json").read_text())["comparisons"]
    assert comparison["scores"]["f1"]["difference"] == 0
    assert comparison["scores"]["f1"]["questions"] == len(read_questions(trained / "seed-0"))
