"""Every mistake a user can make ends in one clear line, a status of 2, and nothing half-written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from qa_lightning.cli.main import main
from tests.tiny import SQUAD, fit_arguments, tiny_folder, write_squad

Refuse = Callable[..., str]


@pytest.fixture
def refuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refuse:
    """Runs a command that must fail, and returns its one line of error."""

    def run(*arguments: str) -> str:
        folder = tmp_path / "work"
        folder.mkdir(exist_ok=True)
        monkeypatch.chdir(folder)
        capsys.readouterr()
        try:
            status = main(list(arguments))
        except SystemExit as error:
            status = int(error.code or 0)
        captured = capsys.readouterr()
        assert status == 2, captured
        errors = [line for line in captured.err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1, captured.err
        assert "Traceback" not in captured.err
        left = [path for path in folder.rglob("*") if path.is_file()]
        assert not left
        return errors[0]

    return run


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_folder(tmp_path_factory.mktemp("model")))


@pytest.fixture
def good(tmp_path: Path) -> str:
    return str(write_squad(tmp_path / "good.json"))


def test_a_missing_file(refuse: Refuse, model: str, good: str, tmp_path: Path) -> None:
    line = refuse(*fit_arguments(model, str(tmp_path / "absent.json"), good))
    assert "absent.json" in line
    assert "no such file" in line


def test_malformed_json_names_the_position(refuse: Refuse, model: str, good: str, tmp_path: Path) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text('{"data": [\n  {"title": "x",\n', encoding="utf-8")
    line = refuse(*fit_arguments(model, str(bad), good))
    assert "bad.json" in line
    assert "line 3" in line


def test_malformed_json_lines_name_the_row(refuse: Refuse, model: str, good: str, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    row = json.dumps({"id": "1", "question": "Who ?", "context": "Ada .", "answers": "Ada"})
    bad.write_text(f"{row}\n{row[:-9]}\n", encoding="utf-8")
    line = refuse(*fit_arguments(model, str(bad), good))
    assert "bad.jsonl" in line
    assert "2" in line


def test_a_truncated_parquet(refuse: Refuse, model: str, good: str, tmp_path: Path) -> None:
    bad = tmp_path / "cut.parquet"
    pq.write_table(pa.table({"question": ["Who ?"] * 50, "context": ["Ada ."] * 50}), bad)
    bad.write_bytes(bad.read_bytes()[:-40])
    line = refuse(*fit_arguments(model, str(bad), good))
    assert "cut.parquet" in line


def test_a_missing_column_lists_those_there(refuse: Refuse, model: str, good: str, tmp_path: Path) -> None:
    bad = tmp_path / "columns.csv"
    bad.write_text("id,query,passage,answers\n1,Who ?,Ada .,Ada\n", encoding="utf-8")
    line = refuse(*fit_arguments(model, str(bad), good))
    assert "columns.csv" in line
    assert "'question'" in line
    assert "query, passage" in line
    assert "column_names" in line


def test_answers_of_a_wrong_shape(refuse: Refuse, model: str, good: str, tmp_path: Path) -> None:
    bad = tmp_path / "shape.json"
    rows = [{"id": "q7", "question": "Who ?", "context": "Ada .", "answers": {"text": ["Ada"], "answer_start": []}}]
    bad.write_text(json.dumps(rows), encoding="utf-8")
    line = refuse(*fit_arguments(model, str(bad), good))
    assert "shape.json" in line
    assert "q7" in line
    assert "answers" in line


def test_duplicate_ids(refuse: Refuse, model: str, good: str, tmp_path: Path) -> None:
    bad = tmp_path / "twice.json"
    row = {"id": "q7", "question": "Who ?", "context": "Ada .", "answers": "Ada"}
    bad.write_text(json.dumps([row, row]), encoding="utf-8")
    line = refuse(*fit_arguments(model, good, str(bad)))
    assert "twice.json" in line
    assert "q7" in line


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--data.encoding", "utf-9"), "encoding: Python has no text encoding 'utf-9'"),
        (("--data.csv.delimiter", ";;"), "csv.delimiter must be one ASCII character such as ';' or a tab, not ';;'"),
        (("--data.encoding", "ascii"), "not ascii at byte "),
    ],
)
def test_ways_of_writing_that_are_none(
    refuse: Refuse, model: str, good: str, tmp_path: Path, flags: tuple[str, str], said: str
) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("question,context,answers\nWho ?,Adá .,Adá\n", encoding="utf-8")
    assert said in refuse(*fit_arguments(model, str(bad), good), *flags)


@pytest.mark.parametrize("content", ["[]", '{"data": []}'])
def test_an_empty_split(refuse: Refuse, model: str, good: str, tmp_path: Path, content: str) -> None:
    bad = tmp_path / "empty.json"
    bad.write_text(content, encoding="utf-8")
    assert "empty.json" in refuse(*fit_arguments(model, str(bad), good))


def test_an_empty_slice(refuse: Refuse, model: str, good: str) -> None:
    line = refuse(*fit_arguments(model, good, good), "--data.train_split", "train[:0]")
    assert "good.json" in line
    assert "train[:0]" in line


@pytest.mark.parametrize("empty", ["context", "question"])
def test_an_empty_text_in_evaluation_data(refuse: Refuse, model: str, good: str, tmp_path: Path, empty: str) -> None:
    bad = tmp_path / "blank.json"
    row = {"id": "q7", "question": "Who ?", "context": "Ada .", "answers": "Ada"} | {empty: "  "}
    bad.write_text(json.dumps([row]), encoding="utf-8")
    line = refuse(*fit_arguments(model, good, str(bad)))
    assert "blank.json" in line
    assert "q7" in line
    assert f"the {empty} is empty" in line


def test_a_stride_without_room_is_refused_before_anything_is_read(refuse: Refuse, model: str) -> None:
    sizes = ["--data.max_length", "40", "--data.max_question_length", "20", "--data.doc_stride", "17"]
    line = refuse(*fit_arguments(model, "absent.json", "absent.json"), *sizes)
    assert "doc_stride (17)" in line
    assert "17 context tokens" in line


def test_max_length_beyond_the_positions(refuse: Refuse, model: str, good: str) -> None:
    line = refuse(*fit_arguments(model, good, good), "--data.max_length", "500")
    assert "max_length (500)" in line
    assert "64 positions" in line


def test_unanswerable_questions_without_version_2(refuse: Refuse, model: str, good: str, tmp_path: Path) -> None:
    bad = write_squad(tmp_path / "v2.json", impossible=True)
    line = refuse(*fit_arguments(model, str(bad), good))
    assert "v2.json" in line
    assert "version_2_with_negative: true" in line


def test_a_checkpoint_of_another_architecture(
    refuse: Refuse, model: str, good: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = tmp_path / "run"
    assert main([*fit_arguments(model, good, good), "--run_dir", str(run)]) == 0
    other = tiny_folder(tmp_path / "other", hidden_size=24)
    line = refuse(
        *("validate", "--ckpt_path", str(run / "checkpoints/best.ckpt")),
        *("--model.model_name_or_path", str(other), "--data.validation_file", good),
    )
    assert "best.ckpt" in line
    assert "another architecture" in line


def test_a_file_that_is_no_checkpoint(refuse: Refuse, good: str, tmp_path: Path) -> None:
    fake = tmp_path / "fake.ckpt"
    fake.write_text("nothing of the kind", encoding="utf-8")
    assert "fake.ckpt" in refuse("validate", "--ckpt_path", str(fake), "--data.validation_file", good)


@pytest.mark.parametrize(
    ("key", "named", "nearest"),
    [
        ("model.learning_rat", "learning_rat", "learning_rate"),
        ("data.max_lenght", "max_lenght", "max_length"),
        ("trainer.max_epoch", "trainer.max_epoch", "trainer.max_epochs"),
        ("modle", "modle", "model"),
        ("run_dri", "run_dri", "run_dir"),
    ],
)
def test_an_unknown_flag_names_the_nearest_key(refuse: Refuse, key: str, named: str, nearest: str) -> None:
    assert refuse("fit", f"--{key}", "3") == f"error: unknown key '{named}'; did you mean '{nearest}'?"


def test_nothing_is_suggested_for_a_key_that_is_like_no_other(refuse: Refuse) -> None:
    assert refuse("fit", "--data.num_workers", "3") == "error: unknown key 'num_workers'; see --help"


@pytest.mark.parametrize(
    ("yaml", "named", "nearest"),
    [
        ("model:\n  learning_rat: 3\n", "learning_rat", "learning_rate"),
        ("model:\n  init_args:\n    learning_rat: 3\n", "learning_rat", "learning_rate"),
        ("data:\n  max_lenght: 3\n", "max_lenght", "max_length"),
        ("trainer:\n  max_epoch: 3\n", "trainer.max_epoch", "trainer.max_epochs"),
        ("modle:\n  learning_rate: 3\n", "modle.learning_rate", "model.learning_rate"),
    ],
)
def test_an_unknown_key_in_a_config_names_the_nearest(
    refuse: Refuse, tmp_path: Path, yaml: str, named: str, nearest: str
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(yaml, encoding="utf-8")
    line = refuse("fit", "--config", str(config))
    assert line == f"error: unknown key '{named}'; did you mean '{nearest}'?"


def test_a_value_of_a_wrong_kind(refuse: Refuse) -> None:
    line = refuse("fit", "--model.learning_rate", "fast")
    assert "learning_rate" in line
    assert "float" in line
    assert "fast" in line


def test_a_missing_config(refuse: Refuse) -> None:
    assert "nowhere.yaml" in refuse("fit", "--config", "nowhere.yaml")


def test_an_unknown_command(refuse: Refuse) -> None:
    assert "'fti'" in refuse("fti")


@pytest.mark.parametrize("what", ["model", "data"])
def test_a_hub_name_that_cannot_be_reached(refuse: Refuse, model: str, good: str, what: str) -> None:
    arguments = fit_arguments("nobody/nothing", good, good)
    if what == "data":
        arguments = ["fit", "--model.model_name_or_path", model, "--data.dataset_name", "nobody/nothing", *SQUAD]
    line = refuse(*arguments)
    assert "nobody/nothing" in line
    assert "offline" in line


def test_a_folder_without_a_model(refuse: Refuse, good: str, tmp_path: Path) -> None:
    assert str(tmp_path) in refuse(*fit_arguments(str(tmp_path), good, good))


def test_evaluating_a_folder_without_a_head(refuse: Refuse, good: str, tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path / "headless", head=False)
    for command, split in (("validate", "validation"), ("test", "test"), ("predict", "predict")):
        line = refuse(command, "--model.model_name_or_path", str(folder), f"--data.{split}_file", good, *SQUAD)
        assert "headless has no question-answering head" in line


def test_no_data(refuse: Refuse, model: str) -> None:
    assert "data.train_file" in refuse("fit", "--model.model_name_or_path", model, *SQUAD)


def test_no_model(refuse: Refuse, good: str) -> None:
    assert "model.model_name_or_path" in refuse("fit", "--data.train_file", good)


@pytest.mark.parametrize("command", ["validate", "test", "predict", "fit"])
def test_best_and_last_need_a_run(refuse: Refuse, command: str) -> None:
    assert "--run_dir" in refuse(command, "--ckpt_path", "best")


def test_a_run_that_is_not_there(refuse: Refuse) -> None:
    for command in ("validate", "test", "predict"):
        assert "nowhere" in refuse(command, "--run_dir", "nowhere", "--ckpt_path", "best")
    assert "nowhere" in refuse("fit", "--run_dir", "nowhere", "--ckpt_path", "best")


@pytest.mark.parametrize(("command", "name"), [("fit", "best"), ("validate", "best"), ("predict", "last")])
def test_a_run_without_the_checkpoint_asked_for(
    refuse: Refuse, model: str, tmp_path: Path, command: str, name: str
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.yaml").write_text(f"model:\n  model_name_or_path: {model}\n", encoding="utf-8")
    line = refuse(command, "--run_dir", str(tmp_path / "run"), "--ckpt_path", name)
    assert f"{name}.ckpt" in line
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["config.yaml"]


@pytest.mark.parametrize("there", ["checkpoints/last.ckpt", "checkpoints/best.ckpt", "best_model/config.json"])
def test_a_second_fit_in_the_same_folder(refuse: Refuse, model: str, good: str, tmp_path: Path, there: str) -> None:
    (tmp_path / "run" / there).parent.mkdir(parents=True)
    (tmp_path / "run" / there).write_text("trained for days", encoding="utf-8")
    line = refuse(*fit_arguments(model, good, good), "--run_dir", str(tmp_path / "run"))
    assert "--ckpt_path last" in line
    assert [path for path in (tmp_path / "run").rglob("*") if path.is_file()] == [tmp_path / "run" / there]
