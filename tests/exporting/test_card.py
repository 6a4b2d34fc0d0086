"""Model cards: what they say, and that text from elsewhere stays text."""

from __future__ import annotations

import re
from typing import Any

import yaml

from qa_lightning.exporting.card import Graph, as_string, as_text, render
from qa_lightning.exporting.measure import Measured, Quantized
from qa_lightning.runs.provenance import Provenance

SETTINGS = {
    "max_length": 384,
    "doc_stride": 128,
    "version_2_with_negative": True,
    "null_score_diff_threshold": -1.2345678901234567,
}
KNOWN = Provenance(
    base="google-bert/bert-base-uncased",
    base_is_on_hub=True,
    datasets=("rajpurkar/squad_v2",),
    data={"training": "rajpurkar/squad_v2, train", "validation": "dev.json"},
    training={"learning_rate": "3e-05", "max_epochs": "2"},
    language="en",
    scores={
        "": {
            "exact_match": 70.25,
            "exact_match_ci95": [69.0, 71.5],
            "f1": 80.5,
            "total": 11873,
            "best_f1": 81.0,
            "best_f1_thresh": -2.0000000000000004,
            "null_score_diff_threshold": -1.2345678901234567,
            "epoch": 1,
            "step": 900,
        }
    },
)


def parts(card: str) -> tuple[dict[str, Any], str]:
    _, front, body = card.split("---\n", 2)
    return yaml.safe_load(front), body


def cells(body: str) -> list[list[str]]:
    """The cells of all tables, as they read."""
    rows = [line.strip("|").split(" | ") for line in body.splitlines() if line.startswith("|")]
    return [[cell.strip().replace("\\", "") for cell in row] for row in rows]


def test_all_that_is_known_is_said() -> None:
    front, body = parts(render("my-model", KNOWN, SETTINGS, None))
    assert front == {
        "library_name": "transformers",
        "pipeline_tag": "question-answering",
        "base_model": "google-bert/bert-base-uncased",
        "datasets": ["rajpurkar/squad_v2"],
        "language": "en",
        "tags": ["question-answering", "qa_lightning"],
        "model-index": [
            {
                "name": "my-model",
                "results": [
                    {
                        "task": {"type": "question-answering", "name": "Extractive question answering"},
                        "dataset": {"name": "dev.json", "type": "rajpurkar/squad_v2", "split": "validation"},
                        "metrics": [
                            {"type": "exact_match", "value": 70.25, "name": "EM"},
                            {"type": "f1", "value": 80.5, "name": "F1"},
                        ],
                    }
                ],
            }
        ],
    }
    assert "# my-model\n" in body
    assert "or that\nthere is none" in body
    assert 'reader = Reader.from_pretrained("my-model")\n' in body
    rows = cells(body)
    assert ["training", "rajpurkar/squad_v2, train"] in rows
    assert ["max_length", "384"] in rows
    assert ["learning_rate", "3e-05"] in rows
    assert ["exact_match", "70.25", "69.00 – 71.50"] in rows
    assert ["f1", "80.50", ""] in rows
    assert ["total", "11,873", ""] in rows
    assert ["null_score_diff_threshold", "-1.2345678901234567"] in rows
    assert ["best_f1_thresh", "-2.0000000000000004"] in rows
    assert not any(row[0] in ("epoch", "step", "exact_match_ci95") for row in rows)
    assert "license" not in body


def test_what_is_not_known_is_left_out() -> None:
    front, body = parts(render("m", Provenance(), {}, None))
    assert front.keys() == {"library_name", "pipeline_tag", "tags"}
    assert [line for line in body.splitlines() if line.startswith("#")] == ["# m", "## Use"]
    assert not cells(body)


def test_an_onnx_model_on_the_hub() -> None:
    measured = Measured(70.25, 80.5, 100.0, 90_000_000), Measured(70.0, 80.75, 250.0, 22_500_000)
    graph = Graph(["input_ids", "attention_mask"], 512, 2.5e-6, Quantized("dev.json", 1190, *measured))
    front, body = parts(render("me/m", KNOWN, SETTINGS, graph, "me/m"))
    assert front["library_name"] == "onnx"
    assert 'reader = Reader.from_pretrained(snapshot_download("me/m"))\n' in body
    assert "takes `input_ids`, `attention_mask` (int64, any batch size and length, up to 512 tokens)" in body
    assert "differed from torch's by 2.5e-06 at most" in body
    rows = cells(body)
    assert ["float32", "70.25", "80.50", "100.0", "90.0"] in rows
    assert ["int8", "70.00", "80.75", "250.0", "22.5"] in rows
    assert ["change", "-0.25", "+0.25", "× 2.50", "× 0.25"] in rows
    assert "On 1,190 questions of dev.json" in body


def test_figures_of_several_evaluation_sets_have_their_names() -> None:
    known = Provenance(scores={"en": {"f1": 80.0, "best_f1_thresh": 1.0}, "de": {"f1": 70.0}})
    front, body = parts(render("m", known, SETTINGS, None))
    rows = cells(body)
    data = {"name": "the validation data", "type": "custom", "split": "validation"}
    found = [(result["dataset"], result["metrics"][0]["value"]) for result in front["model-index"][0]["results"]]
    assert found == [(data | {"config": "en"}, 80.0), (data | {"config": "de"}, 70.0)]
    assert ["en: f1", "80.00", ""] in rows
    assert ["de: f1", "70.00", ""] in rows
    assert ["en: best_f1_thresh", "1.0"] in rows


def test_text_from_elsewhere_stays_text() -> None:
    evil = 'x" \n---\nlicense: mit\n```\n# Title <script>alert(1)</script> ![i](http://a.b/c) | www.evil.com __b__ `c`'
    known = Provenance(
        base=evil,
        base_is_on_hub=True,
        datasets=(evil,),
        data={"training": evil, "validation": evil},
        language=evil,
        scores={"": {"f1": 1.0}},
    )
    card = render(evil, known, {evil: evil}, None, evil)
    front, body = parts(card)
    line = evil.replace("\n", " ")
    assert front["base_model"] == line
    assert front["datasets"] == [line]
    assert front["language"] == line
    assert "license" not in front
    index = front["model-index"][0]
    assert (index["name"], index["results"][0]["dataset"]["name"]) == (line, line)
    headings = [heading for heading in body.splitlines() if heading.startswith("#")]
    assert headings == [f"# {as_text(evil)}", "## Use", "## Data", "## Settings", "## Scores"]
    assert body.count("\n```") == 4  # two blocks of code
    outside = re.sub(r"\\[!-/:-@\[-`{-~]", "", "\n".join(body.split("\n```")[::2]))
    for harmful in ("<", "![", "](", "://", "www.", "__", " | www", "`"):
        assert harmful not in outside, harmful


def test_escapes() -> None:
    assert as_text("best_f1_thresh") == "best_f1_thresh"
    assert as_text("_a_ __b__") == r"\_a\_ \_\_b\_\_"
    assert as_text("a|b\\c") == r"a\|b\\c"
    assert as_text("3.5, (a) -1") == "3.5, (a) -1"
    assert as_string('a"b\nü\x1b[31m') == '"a\\"b ü [31m"'
