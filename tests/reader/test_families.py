"""For every family of model, a Reader answers what validation predicts, question by question."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForQuestionAnswering

from qa_lightning import Reader
from qa_lightning.cli.main import main
from qa_lightning.modeling.module import QALightningModule
from qa_lightning.modeling.network import is_causal_network, quiet_transformers
from tests.data.tokenizers import build
from tests.modeling.families import CONFIGS, config
from tests.training import trains

pytestmark = trains

TOKENIZERS = {
    "bert": "bert-uncased",
    "distilbert": "bert-cased",
    "roberta": "roberta",
    "electra": "bert-uncased",
    "deberta-v2": "albert",
    "albert": "albert",
    "longformer": "roberta",
    "xlnet": "xlnet",
    "modernbert": "roberta",
    "llama": "llama",
    "qwen3": "qwen",
}
"""By family of model a family of tokenizer; only ``qwen``'s has no token for null."""

CASES = [(family, null) for family in TOKENIZERS for null in (False, True) if not (null and family == "qwen3")]


LEFT = {"bert": "bert-left", "distilbert": "bert-left", "electra": "bert-left", "deberta-v2": "bert-left"}
LEFT |= {"albert": "bert-left", "xlnet": "xlnet", "modernbert": "bert-left", "llama": "llama", "qwen3": "qwen"}
"""By family of model a family of tokenizer that fills rows at their left."""


def folder_of(family: str, kind: str, shared: Path, folder: Path) -> Path:
    """A tiny model whose logits differ much from token to token, with a tokenizer of some kind."""
    tokenizer = build(kind, shared)
    made = config(family)
    made.vocab_size = len(tokenizer)
    made.pad_token_id = tokenizer.pad_token_id
    if family != "xlnet":
        made.max_position_embeddings = 514
    with torch.random.fork_rng(), quiet_transformers():
        torch.manual_seed(0)
        model = AutoModelForQuestionAnswering.from_config(made)
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.data.normal_(0, 0.3)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder


def questions(file: Path) -> dict[str, dict[str, str]]:
    """The questions of SQuAD JSON with their contexts, by id."""
    return {
        qa["id"]: {"question": qa["question"], "context": paragraph["context"]}
        for article in json.loads(file.read_text())["data"]
        for paragraph in article["paragraphs"]
        for qa in paragraph["qas"]
    }


def thinned(file: Path, folder: Path) -> Path:
    """SQuAD JSON with all of its texts, but only a fifth of the questions on each."""
    document = json.loads(file.read_text())
    for article in document["data"]:
        for paragraph in article["paragraphs"]:
            paragraph["qas"] = paragraph["qas"][::5]
    (folder / file.name).write_text(json.dumps(document))
    return folder / file.name


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:this model is a causal decoder")
@pytest.mark.parametrize(("family", "null"), CASES)
def test_the_best_answer_is_what_validation_predicts(
    family: str, null: bool, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = folder_of(family, TOKENIZERS[family], shared, tmp_path / "model")
    file = thinned(shared / "data" / ("xquad.en.v2.dev.json" if null else "xquad.en.json"), tmp_path)
    asked = questions(file)
    assert len(asked) > 100
    reader = Reader.from_pretrained(folder, device="cpu", max_answer_len=30, align_to_words=False)
    # A threshold at which about half of the questions are left unanswered.
    odds = sorted(
        prediction.null_odds or 0.0 for prediction in reader.predictions(asked.values(), handle_impossible_answer=null)
    )
    threshold = (odds[len(odds) // 2 - 1] + odds[len(odds) // 2]) / 2
    arguments = ["--model.model_name_or_path", str(folder), "--data.validation_file", str(file)]
    arguments += ["--data.version_2_with_negative", str(null).lower(), "--trainer.accelerator", "cpu"]
    assert main(["validate", *arguments, "--model.null_score_diff_threshold", str(threshold)]) == 0
    (run,) = (tmp_path / "runs").iterdir()
    predicted: dict[str, str] = json.loads((run / "validate/predictions.json").read_text())
    best: dict[str, list[dict[str, Any]]] = json.loads((run / "validate/nbest_predictions.json").read_text())
    found = reader(list(asked.values()), handle_impossible_answer=null, null_score_diff_threshold=threshold)
    answers = dict(zip(asked, found, strict=True))

    assert list(answers) == list(predicted)
    assert {name: answer["answer"] for name, answer in answers.items()} == predicted
    for name, answer in answers.items():
        assert answer["answer"] == asked[name]["context"][answer["start"] : answer["end"]]
        same = [candidate["probability"] for candidate in best[name] if candidate["text"] == answer["answer"]]
        assert answer["score"] == pytest.approx(same[0], abs=1e-4)
    texts = set(predicted.values())
    assert len(texts) > len(predicted) / 20
    assert sum(text == "" for text in predicted.values()) == (len(predicted) // 2 if null else 0)


@pytest.mark.parametrize("family", LEFT)
def test_an_answer_does_not_depend_on_what_it_is_asked_with(family: str, shared: Path, tmp_path: Path) -> None:
    folder = folder_of(family, LEFT[family], shared, tmp_path)
    asked = list(questions(shared / "data/xquad.en.dev.json").values())[::10]
    alone, together = (
        Reader.from_pretrained(folder, device="cpu", tokens_per_batch=tokens)(asked, top_k=3) for tokens in (1, 10_000)
    )
    for answers_alone, answers_together in zip(alone, together, strict=True):
        assert [found["answer"] for found in answers_alone] == [found["answer"] for found in answers_together]
        assert [found["score"] for found in answers_alone] == pytest.approx(
            [found["score"] for found in answers_together], abs=1e-4
        )


def fit(folder: Path, data: Path, run: Path) -> Path:
    """The best model of a short training with unanswerable questions."""
    flags = "--data.version_2_with_negative true --data.max_length 128 --data.doc_stride 32 --data.batch_size 8 "
    flags += "--trainer.accelerator cpu --trainer.max_epochs 1 --trainer.log_every_n_steps 1 --model.learning_rate 1e-3"
    files = ["--data.train_file", str(data), "--data.validation_file", str(data)]
    named = ["--model.config_name", str(folder), "--run_dir", str(run), "--trainer.num_sanity_val_steps", "0"]
    assert main(["fit", *named, *files, *flags.split()]) == 0
    return run / "best_model"


@pytest.mark.slow
@pytest.mark.parametrize("family", ["llama", "qwen3"])
def test_a_decoder_is_trained_and_asked_with_null_at_the_end(family: str, shared: Path, tmp_path: Path) -> None:
    folder = folder_of(family, TOKENIZERS[family], shared, tmp_path / "start")
    data = tmp_path / "data.json"
    document = json.loads((shared / "data/xquad.en.v2.dev.json").read_text())
    document["data"] = document["data"][:1]
    document["data"][0]["paragraphs"] = document["data"][0]["paragraphs"][:2]
    data.write_text(json.dumps(document))
    best = fit(folder, data, tmp_path / "run")
    assert json.loads((best / "qa_lightning.json").read_text())["null_at_end"] is True
    asked = questions(data)
    (checkpoint,) = (tmp_path / "run/checkpoints").glob("best*.ckpt")
    assert main(["validate", "--run_dir", str(tmp_path / "run"), "--trainer.accelerator", "cpu"]) == 0
    odds = json.loads((tmp_path / "run/validate/null_odds.json").read_text())
    assert main(["export", str(best), "--format", "safetensors", "--output", str(tmp_path / "exported")]) == 0
    for model in (best, checkpoint, tmp_path / "exported"):
        reader = Reader.from_pretrained(model, device="cpu")
        assert reader.null_at_end
        found = dict(zip(asked, reader.predictions(list(asked.values())), strict=True))
        assert {name: prediction.null_odds for name, prediction in found.items()} == pytest.approx(odds, abs=1e-3)
    scores = {
        prediction.answers.null.start_logit for prediction in found.values() if prediction.answers.null is not None
    }
    assert len(scores) == len(found)  # no two questions have the same


def test_where_null_says_the_same_of_every_question_that_is_said_once(shared: Path, tmp_path: Path) -> None:
    folder = folder_of("llama", "llama", shared, tmp_path / "llama")
    reader = Reader.from_pretrained(folder, device="cpu")
    asked = [{"question": text, "context": "Mara sang in Oslo."} for text in ("Who sang?", "Where did she sing?")]
    reader(asked)
    with pytest.warns(UserWarning, match=r"^this model is a causal decoder and scores 'no answer' at a window's first"):
        nulls = [prediction.answers.null for prediction in reader.predictions(asked, handle_impossible_answer=True)]
    assert len({null.start_logit for null in nulls if null is not None}) == 1
    reader(asked, handle_impossible_answer=True)  # a second warning would be an error
    with pytest.warns(UserWarning, match="this model is a causal decoder"):
        module = QALightningModule(
            config_name=str(folder), tokenizer_name=str(shared / "models/tiny-bert-qa"), version_2_with_negative=True
        )
    assert "null_at_end" not in module.settings


@pytest.mark.parametrize("family", CONFIGS)
def test_causal_decoders_are_known_by_what_they_see(family: str) -> None:
    with quiet_transformers():
        network = AutoModelForQuestionAnswering.from_config(config(family))
    assert is_causal_network(network) is (family in ("llama", "qwen3"))
