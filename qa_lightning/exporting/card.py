"""The model card: what a folder holds, where it comes from, how good it is and how it is used."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from qa_lightning.exporting.measure import Comparison
from qa_lightning.runs.history import Scores
from qa_lightning.runs.provenance import Provenance
from qa_lightning.utils.terminal import printable

CARD = "README.md"
"""File of a model folder that is its card."""

_FORMATTING = re.compile(r"[\\`*{}\[\]<>#|~!&$@:/^]|(?<=www)\.|(?<![^\W_])_|_(?![^\W_])", re.IGNORECASE)
"""What could format a text that stands within a line or a cell, or make a link of it."""


class ScoreRow(NamedTuple):
    """A row of the table of scores, as it is shown."""

    name: str
    value: str
    interval: str


@dataclass(frozen=True)
class Graph:
    """What is told of an ONNX model.

    Attributes:
        inputs: The names of what it takes.
        longest: For how many tokens it has positions; None: any number.
        difference: By how much its logits differ from torch's at most.
        int8: What 8 bits cost, where its weights have them.
    """

    inputs: list[str]
    longest: int | None
    difference: float
    int8: Comparison | None = None


def render(
    title: str, provenance: Provenance, settings: Mapping[str, Any], graph: Graph | None, hub_name: str | None = None
) -> str:
    """The card as Markdown. Text from elsewhere can neither format it nor add to it.

    Args:
        title: What the model is called.
        provenance: Where it comes from.
        settings: What it was trained and scored with, as `pretrained.load_settings` returned it.
        graph: The ONNX model; None for one of torch.
        hub_name: What it is called on the Hub, where it is to be there.
    """
    environment = Environment(
        loader=PackageLoader("qa_lightning.exporting", ""),
        autoescape=False,  # noqa: S701 - it is no HTML; the filters here escape for Markdown, YAML and Python
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"text": as_text, "yaml": as_string, "literal": as_string}
    int8 = None if graph is None else graph.int8
    return environment.get_template("card.md.j2").render(
        title=title,
        library="transformers" if graph is None else "onnx",
        base=provenance.base,
        base_on_hub=provenance.base_is_on_hub,
        datasets=provenance.datasets,
        language=provenance.language,
        trained=bool(provenance.training),
        data=provenance.data,
        training=provenance.training,
        settings={name: value for name, value in settings.items() if name != "null_score_diff_threshold"},
        null_allowed=bool(settings.get("version_2_with_negative")),
        scores=[row for name, scores in provenance.scores.items() for row in _score_rows(name, scores)],
        thresholds=dict(_thresholds(settings, provenance.scores)),
        hub_name=hub_name,
        onnx=graph is not None,
        inputs=[] if graph is None else [f"`{name}`" for name in graph.inputs],
        longest=None if graph is None else graph.longest,
        difference=None if graph is None else graph.difference,
        int8=None if int8 is None else int8.rows(),
        int8_data=None if int8 is None else int8.data,
        int8_questions=None if int8 is None else f"{int8.questions:,}",
    )


def as_text(value: object) -> str:
    """Any value as one line of plain text in Markdown: what would format it is escaped."""
    return _FORMATTING.sub(r"\\\g<0>", printable(str(value)))


def as_string(value: object) -> str:
    """A text in quotes that YAML and Python read alike."""
    return json.dumps(printable(str(value)), ensure_ascii=False)


def _score_rows(evaluation_set: str, scores: Scores) -> Iterator[ScoreRow]:
    for name, value in scores.items():
        if not name.endswith(("_ci95", "_thresh", "_threshold")) and name not in ("epoch", "step"):
            low_high = scores.get(f"{name}_ci95")
            interval = f"{low_high[0]:.2f} – {low_high[1]:.2f}" if low_high else ""
            number = f"{value:,.0f}" if name.endswith("total") else f"{value:.2f}"
            yield ScoreRow(_named(evaluation_set, name), number, interval)


def _thresholds(settings: Mapping[str, Any], by_set: Mapping[str, Scores]) -> Iterator[tuple[str, str]]:
    """The one in use, and those that were best in the evaluation, to the last digit, since they are to be used."""
    if settings.get("version_2_with_negative"):
        yield "null_score_diff_threshold", repr(float(settings["null_score_diff_threshold"]))
        for evaluation_set, scores in by_set.items():
            for name, value in scores.items():
                if name.endswith("_thresh"):
                    yield _named(evaluation_set, name), repr(float(value))


def _named(evaluation_set: str, figure: str) -> str:
    return f"{evaluation_set}: {figure}" if evaluation_set else figure
