"""Ensembles as the command line makes them, and what takes their folders."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from qa_lightning.cli.main import main
from qa_lightning.ensembling.ensemble import make_ensemble
from qa_lightning.ensembling.scores import f1_of, read_questions
from qa_lightning.reader.ensemble import Ensemble
from qa_lightning.reader.inputs import Pair
from qa_lightning.reader.pipeline import pipeline
from qa_lightning.reader.reader import Reader
from qa_lightning.serving.batching import Batcher
from qa_lightning.utils.errors import UserError
from tests.cli import mistakes
from tests.ensembling.test_soup import SETTINGS, changed_folder
from tests.teachers import letters_folder
from tests.tiny import fit_arguments, write_squad

ROW = {"question": "Who wrote the program?", "context": "Ada wrote the first program in London."}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two models: one that knows words, and one that knows letters; and their ensemble."""
    folder = tmp_path_factory.mktemp("place")
    changed_folder(folder / "words", 0, settings=SETTINGS)
    letters_folder(folder / "letters")
    lengths = {"max_length": 120, "max_question_length": 40, "max_answer_length": 30, "n_best_size": 10}
    (folder / "letters/qa_lightning.json").write_text(json.dumps(SETTINGS | lengths))
    write_squad(folder / "squad.json", copies=2)
    make_ensemble([str(folder / "words"), str(folder / "letters")], folder / "both", weights=[1, 3])
    return folder


def members(place: Path) -> list[Reader]:
    return [Reader.from_pretrained(place / name) for name in ("words", "letters")]


def test_an_ensemble_names_its_members(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    assert main(["ensemble", "words", "./letters", "--output", str(tmp_path / "new/both")]) == 0
    written = capsys.readouterr()
    assert "0.500" in written.out
    assert f"The ensemble is in {tmp_path / 'new/both'}; its members stay" in written.out
    assert written.err == ""
    values = json.loads((tmp_path / "new/both/ensemble.json").read_text())
    assert [member["weight"] for member in values["members"]] == [0.5, 0.5]
    for member, name in zip(values["members"], ("words", "letters"), strict=True):
        assert (tmp_path / "new/both" / member["model"]).resolve() == (place / name).resolve()


def test_a_reader_of_the_folder(place: Path) -> None:
    reader, expected = Reader.from_pretrained(place / "both"), Reader(Ensemble(members(place), [0.25, 0.75]))
    assert reader.settings == expected.settings
    assert reader.settings.max_seq_len == 120
    assert pipeline("question-answering", model=str(place / "both"))(**ROW) == reader(**ROW)
    found = reader(**ROW, top_k=5)
    assert found == expected(**ROW, top_k=5)
    assert found != members(place)[1](**ROW, top_k=5)


def test_ask_and_serve_take_it(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "text.txt"
    text.write_text(ROW["context"])
    assert main(["ask", ROW["question"], "--context", str(text), "--model", str(place / "both"), "--json"]) == 0
    reader = Reader.from_pretrained(place / "both")
    expected = reader(**ROW)
    assert json.loads(capsys.readouterr().out) == {"question": ROW["question"]} | expected
    with Batcher(reader) as batcher:
        assert batcher.ask([Pair(**ROW)], reader.settings.updated({"top_k": 1})).result(timeout=60) == [expected]


def test_score_takes_it(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, output = str(place / "squad.json"), tmp_path / "scores.json"
    assert main(["score", "--data", data, "--model", str(place / "both"), "--output", str(output)]) == 0
    assert "f1" in capsys.readouterr().out
    scores = json.loads(output.read_text())
    assert scores["f1"] == pytest.approx(f1_of(Reader.from_pretrained(place / "both"), read_questions(data)))
    assert scores["total"] == 12
    assert "best_f1" not in scores  # there is no answer of none


def test_the_tree_can_be_moved(place: Path, tmp_path: Path) -> None:
    expected = Reader.from_pretrained(place / "both")(**ROW)
    for name in ("words", "letters", "both"):
        shutil.copytree(place / name, tmp_path / "moved" / name)
    assert Reader.from_pretrained(tmp_path / "moved/both")(**ROW) == expected
    shutil.rmtree(tmp_path / "moved/words")
    with pytest.raises(UserError, match="moved/words: no such"):
        Reader.from_pretrained(tmp_path / "moved/both")


def test_weights_fitted_to_questions(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs, data = [str(place / name) for name in ("words", "letters")], str(place / "squad.json")
    assert main(["ensemble", *runs, "--output", str(tmp_path / "fitted"), "--data", data]) == 0
    said = capsys.readouterr().out
    assert "F1 with equal weights: " in said
    values = json.loads((tmp_path / "fitted/ensemble.json").read_text())
    asked, fitted = read_questions(data), values["fitted"]
    assert fitted["f1_of_members"] == pytest.approx([f1_of(reader, asked) for reader in members(place)])
    equal = Reader(Ensemble(members(place)))
    assert fitted["f1_of_equal"] == pytest.approx(f1_of(equal, asked))
    assert f"F1 with fitted weights: {fitted['f1']:.2f}, " in said
    # What was fitted to all of them is at least as good on them as any member and all together.
    reached = f1_of(Reader.from_pretrained(tmp_path / "fitted"), asked)
    assert reached >= max(*fitted["f1_of_members"], fitted["f1_of_equal"]) - 1e-6


def test_null_is_scored_by_its_probabilities(place: Path, tmp_path: Path) -> None:
    names = ["first", "second"]
    for i, name in enumerate(names):
        changed_folder(tmp_path / name, i, settings=SETTINGS | {"version_2_with_negative": True})
    arguments = ["ensemble", *(str(tmp_path / name) for name in names), "--output", str(tmp_path / "both")]
    data = write_squad(tmp_path / "squad.json", impossible=True)
    assert main([*arguments, "--data", str(data)]) == 0
    output = tmp_path / "scores.json"
    assert main(["score", "--data", str(data), "--model", str(tmp_path / "both"), "--output", str(output)]) == 0
    assert {"best_f1", "best_f1_thresh", "NoAns_f1"} <= set(json.loads(output.read_text()))


def test_where_one_network_is_needed_it_is_refused(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both, data = str(place / "both"), str(place / "squad.json")
    for arguments in (
        [*fit_arguments(both, data, data), "--run_dir", str(tmp_path / "run")],
        ["export", both, "--format", "onnx", "--output", str(tmp_path / "o")],
        ["soup", both, both, "--output", str(tmp_path / "o")],
    ):
        assert f"{both} is an ensemble of several models" in mistakes.error_of(arguments, capsys)
    arguments = ["ensemble", both, str(place / "words"), "--output", str(tmp_path / "o")]
    assert "is an ensemble itself; name its members" in mistakes.error_of(arguments, capsys)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "not the file of an ensemble"),
        ("[]", '"members" is not a list of objects'),
        ('{"members": []}', '"members" is not a list of objects'),
        ('{"members": [{"weight": 1}]}', "a model cannot be None"),
        ('{"members": [{"model": "./words", "weight": "much"}]}', "a weight cannot be 'much'"),
        ('{"members": [{"model": "./words", "weight": 0}]}', "the weights sum to 0"),
        ('{"members": [{"model": "../both"}]}', "the member ../both is an ensemble itself"),
        ('{"members": [{"model": "../words"}], "settings": {"max_answer_length": 3}}', "did you mean 'max_answer_len'"),
        ('{"members": [{"model": "../words"}], "settings": 3}', '"settings" is no object'),
    ],
)
def test_damaged_files(text: str, message: str, place: Path) -> None:
    folder = place / "damaged"
    folder.mkdir(exist_ok=True)
    (folder / "ensemble.json").write_text(text)
    with pytest.raises(UserError) as refused:
        Reader.from_pretrained(folder)
    assert str(refused.value).startswith(f"{folder / 'ensemble.json'}: ")
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["words", "--output", "o"], "give two runs or more"),
        (["words", "letters", "--output", "o", "--weights", "1"], "2 runs have 1 weights"),
        (["words", "letters", "--output", "o", "--weights", "1", "-1"], "a weight cannot be -1.0"),
        (["words", "letters", "--output", "o", "--weights", "0", "0"], "the weights sum to 0"),
        (["words", "letters", "--output", "o", "--weights", "1", "1", "--data", "d"], "not both"),
        (["words", "letters", "--output", "o", "--language", "de"], "--language goes with --data"),
        (["words", "letters", "--output", "both"], "both is there already"),
        (["words", "./none", "--output", "o"], "./none: no such"),
        (["words", "letters", "--output", "o", "--data", "none.json"], "none.json"),
    ],
)
def test_mistakes(
    arguments: list[str], message: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    assert message in mistakes.error_of(["ensemble", *arguments], capsys)
    assert not (place / "o").exists()


def test_models_that_differ_in_null_are_refused(place: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = SETTINGS | {"version_2_with_negative": True}
    other = changed_folder(tmp_path / "null", 1, settings=settings)
    with pytest.raises(UserError, match=r"null may leave questions unanswered .* and .*words may not"):
        make_ensemble([str(place / "words"), str(other)], tmp_path / "o")
