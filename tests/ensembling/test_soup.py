"""Soups: means of weights by hand, and as the command line makes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from qa_lightning.cli.main import main
from qa_lightning.ensembling.soup import MeanWeights, check_ingredients, make_soup
from qa_lightning.modeling.network import load_network
from qa_lightning.reader.reader import Reader
from tests.cli import mistakes
from tests.tiny import tiny_folder, write_squad

ROW = {"question": "Who wrote the program?", "context": "Ada wrote the first program in London."}
SETTINGS: dict[str, Any] = {
    "max_length": 48,
    "max_question_length": 12,
    "doc_stride": 8,
    "version_2_with_negative": False,
    "n_best_size": 20,
    "max_answer_length": 15,
    "null_score_diff_threshold": 0.0,
}


def weights_of(folder: Path) -> dict[str, Tensor]:
    return load_network(str(folder))[0].state_dict()


def changed_folder(folder: Path, seed: int, *, size: float = 0.2, settings: dict[str, Any] | None = None) -> Path:
    """A tiny model whose weights are those of all others, changed at random."""
    tiny_folder(folder)
    network = load_network(str(folder))[0]
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        for parameter in network.parameters():
            parameter.add_(size * torch.randn_like(parameter))
    network.save_pretrained(folder)
    if settings is not None:
        (folder / "qa_lightning.json").write_text(json.dumps(settings))
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three models of one shape and tokenizer."""
    folder = tmp_path_factory.mktemp("runs")
    return [
        changed_folder(folder / f"m{i}", i, settings=SETTINGS | {"null_score_diff_threshold": float(i)})
        for i in range(3)
    ]


def test_means_by_hand() -> None:
    half = torch.tensor([1.0, 2.0], dtype=torch.bfloat16)
    mean = MeanWeights.of({"w": torch.tensor([1.0, 4.0]), "h": half, "position": torch.tensor([0, 1])})
    both = mean.plus({"w": torch.tensor([4.0, 1.0]), "h": half + 2, "position": torch.tensor([5, 5])})
    three = both.plus({"w": torch.tensor([7.0, 1.0]), "h": half, "position": torch.tensor([5, 5])})
    assert three.weights()["w"].tolist() == [4.0, 2.0]
    assert both.weights()["w"].tolist() == [2.5, 2.5]  # is not changed by what was made of it
    assert both.weights()["h"].tolist() == [2.0, 3.0]
    assert both.weights()["h"].dtype is torch.bfloat16
    assert three.weights()["position"].tolist() == [0, 1]


def test_a_uniform_soup_is_a_plain_folder(runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "soup"
    assert main(["soup", *map(str, runs), "--output", str(output)]) == 0
    written = capsys.readouterr()
    assert written.out == f"The mean of the weights of m0, m1, m2 is in {output}\n"
    assert written.err == ""
    expected = [weights_of(run) for run in runs]
    for name, value in weights_of(output).items():
        torch.testing.assert_close(value, torch.stack([each[name] for each in expected]).mean(0))
    reader = Reader.from_pretrained(output)
    assert reader.settings.max_seq_len == 48
    assert reader.settings.null_score_diff_threshold == 1.0  # the mean of 0, 1 and 2
    assert reader(**ROW)["answer"] in ROW["context"]
    assert json.loads((output / "soup.json").read_text())["kept"] == ["m0", "m1", "m2"]


def test_a_greedy_soup_adds_only_what_does_not_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [changed_folder(tmp_path / f"m{i}", i, settings=SETTINGS) for i in range(3)]
    data = write_squad(tmp_path / "squad.json")
    # Alone: 50, 70, 60. So the second is first; with the third, 65 is a loss; with the first, 70 is none.
    figures = iter([50.0, 70.0, 60.0, 65.0, 70.0])
    monkeypatch.setattr("qa_lightning.ensembling.soup.f1_of", lambda *_: next(figures))
    output = tmp_path / "soup"
    arguments = ["soup", *map(str, folders), "--output", str(output), "--data", str(data), "--greedy"]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "The mean of the weights of m1, m0 is in" in said
    assert "flatters" in said
    expected = [weights_of(folders[1]), weights_of(folders[0])]
    for name, value in weights_of(output).items():
        torch.testing.assert_close(value, torch.stack([each[name] for each in expected]).mean(0))
    found = json.loads((output / "soup.json").read_text())
    assert found == {
        "kept": ["m1", "m0"],
        "left_out": ["m2"],
        "f1_of_runs": {"m0": 50.0, "m1": 70.0, "m2": 60.0},
        "f1": 70.0,
    }


def test_figures_are_those_of_readers(runs: list[Path], tmp_path: Path) -> None:
    data = write_squad(tmp_path / "squad.json")
    soup = make_soup([str(run) for run in runs[:2]], tmp_path / "soup", data=str(data))
    from qa_lightning.ensembling.scores import f1_of, read_questions

    asked = read_questions(str(data))
    assert soup.f1_of_runs == {run.name: f1_of(Reader.from_pretrained(run), asked) for run in runs[:2]}
    assert soup.f1 == f1_of(Reader.from_pretrained(tmp_path / "soup"), asked)


def test_a_soup_of_one_model_twice_is_that_model(runs: list[Path], tmp_path: Path) -> None:
    make_soup([str(runs[0])] * 2, tmp_path / "soup")
    expected = weights_of(runs[0])
    assert all(torch.equal(value, expected[name]) for name, value in weights_of(tmp_path / "soup").items())


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.:FutureWarning")  # as peft asks transformers
def test_adapters_are_added_to_their_base_first(runs: list[Path], tmp_path: Path) -> None:
    peft = pytest.importorskip("peft", reason="adapters need the package peft")
    for i in range(2):
        settings = peft.LoraConfig(r=2, target_modules=["query", "value"], init_lora_weights=False)
        wrapped = peft.get_peft_model(load_network(str(runs[0]))[0], settings)
        wrapped.save_pretrained(tmp_path / f"a{i}")
        (tmp_path / f"a{i}/qa_lightning.json").write_text(json.dumps(SETTINGS | {"config_overrides": {}}))
    folders = [tmp_path / f"a{i}" for i in range(2)]
    assert main(["soup", *map(str, folders), "--output", str(tmp_path / "soup")]) == 0
    assert not (tmp_path / "soup/adapter_config.json").exists()
    merged, base = [weights_of(folder) for folder in folders], weights_of(runs[0])
    for name, value in weights_of(tmp_path / "soup").items():
        torch.testing.assert_close(value, (merged[0][name] + merged[1][name]) / 2)
        assert torch.equal(value, base[name]) == ("query.weight" not in name and "value.weight" not in name), name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("size", "cannot be averaged: hidden_size is 16 in the first and 32 in the second; an ensemble takes"),
        ("head", "cannot be averaged: head is None in the first and {'type': 'joint'"),
        ("tokenizer", "has another tokenizer than"),
        ("settings", "max_length is 48 in the first and 32 in the second; a soup is of runs with the same settings"),
        ("onnx", "holds an ONNX model, whose weights cannot be averaged"),
    ],
)
def test_what_cannot_be_averaged_is_refused(change: str, message: str, runs: list[Path], tmp_path: Path) -> None:
    from qa_lightning.utils.errors import UserError

    other = tiny_folder(tmp_path / "other", hidden_size=32 if change == "size" else 16)
    settings = SETTINGS | ({"max_length": 32} if change == "settings" else {})
    (other / "qa_lightning.json").write_text(json.dumps(settings))
    if change == "head":
        config = json.loads((other / "config.json").read_text())
        config["qa_head"] = {"type": "joint", "model_type": config["model_type"]}
        (other / "config.json").write_text(json.dumps(config | {"model_type": "qa_lightning"}))
    if change == "tokenizer":
        path = other / "tokenizer.json"
        values = json.loads(path.read_text())
        values["normalizer"]["lowercase"] = False
        path.write_text(json.dumps(values))
    if change == "onnx":
        (other / "model.safetensors").unlink()
        (other / "model.onnx").touch()
    with pytest.raises(UserError) as refused:
        check_ingredients([str(runs[0]), str(other)])
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["one", "--output", "o"], "give two runs or more"),
        (["one", "two", "--output", "o", "--greedy"], "--greedy and --language go with --data"),
        (["one", "two", "--output", "there"], "there is there already"),
        (["./one", "./two", "--output", "o"], "no such model folder"),
    ],
)
def test_mistakes(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    (tmp_path / "there/file").touch()
    assert message in mistakes.error_of(["soup", *arguments], capsys)
    assert not (tmp_path / "o").exists()
