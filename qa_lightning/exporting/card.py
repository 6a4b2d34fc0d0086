"""The model card: what a folder holds, where it comes from, how good it is and how it is used."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from qa_lightning.exporting.measure import Quantized
from qa_lightning.pretrained.settings import CALIBRATION, saved_temperatures
from qa_lightning.runs.history import Scores
from qa_lightning.runs.provenance import Provenance
from qa_lightning.scoring.figures import PROGRESS, THRESHOLD_IN_USE, read_figures, read_thresholds
from qa_lightning.utils.terminal import printable

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

CARD = "README.md"
"""File of a model folder that is its card."""

_TASK = "question-answering"

_FORMATTING = re.compile(r"[\\`*{}\[\]<>#|~!&$@:/^]|(?<=www)\.|(?<![^\W_])_|_(?![^\W_])", re.IGNORECASE)
"""What could format a text that stands within a line or a cell, or make a link of it."""


class CardRow(NamedTuple):
    """A row of the table of scores, as it is shown."""

    name: str
    value: str
    interval: str


@dataclass(frozen=True)
class Graph:
    """What the card says of an ONNX model.

    Attributes:
        inputs: The names of what it takes.
        longest: For how many tokens it has positions; None: any number.
        difference: By how much its logits differ from torch's at most.
        int8: What 8 bits cost, where its weights have them.
    """

    inputs: list[str]
    longest: int | None
    difference: float
    int8: Quantized | None = None


def render(
    title: str,
    provenance: Provenance,
    settings: Mapping[str, Any],
    graph: Graph | None,
    hub_name: str | None = None,
    head: str | None = None,
) -> str:
    """Writes the card as Markdown. Text from elsewhere can neither format it nor add to it.

    Args:
        title: What the model is called.
        provenance: Where it comes from.
        settings: What it was trained and scored with, as `pretrained.load_settings` returned it.
        graph: The ONNX model; None for one of torch.
        hub_name: What it is called on the Hub, where it is to be there.
        head: Which head of ours it has; None: that of transformers.
    """
    environment = Environment(
        loader=PackageLoader("qa_lightning.exporting", ""),
        autoescape=False,  # noqa: S701 - it is no HTML; the filters here escape for Markdown and Python
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"text": as_text, "literal": as_string}
    int8 = None if graph is None else graph.int8
    return environment.get_template("card.md.j2").render(
        title=title,
        metadata=_metadata(title, provenance, "onnx" if graph else "qa_lightning" if head else "transformers"),
        base=provenance.base,
        trained=bool(provenance.training),
        data=provenance.data,
        training=provenance.training,
        settings={name: value for name, value in settings.items() if name not in (THRESHOLD_IN_USE, CALIBRATION)}
        | saved_temperatures(settings),
        null_allowed=bool(settings.get("version_2_with_negative")),
        scores=[row for name, scores in provenance.scores.items() for row in _score_rows(name, scores)],
        thresholds=dict(_thresholds(settings, provenance.scores)),
        hub_name=hub_name,
        onnx=graph is not None,
        head=head,
        scores_pairs=head in ("joint", "biaffine"),
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
    """A text in quotes, as Python reads it."""
    return json.dumps(printable(str(value)), ensure_ascii=False)


def _metadata(title: str, provenance: Provenance, library: str) -> str:
    """The YAML at the head of the card, by which the Hub finds the model and its scores."""
    from huggingface_hub import ModelCardData

    results = [result for name, scores in provenance.scores.items() for result in _results(name, scores, provenance)]
    card = ModelCardData(
        library_name=library,
        pipeline_tag=_TASK,
        base_model=printable(provenance.base) if provenance.base_is_on_hub else None,
        datasets=[printable(name) for name in provenance.datasets] or None,
        language=None if provenance.language is None else printable(provenance.language),
        tags=[_TASK, "qa_lightning"],
        model_name=printable(title) if results else None,
        eval_results=results or None,
    )
    return card.to_yaml()


def _results(evaluation_set: str, scores: Scores, provenance: Provenance) -> Iterator[EvalResult]:
    """EM and F1 of an evaluation set, as the Hub's leaderboards take them."""
    from huggingface_hub import EvalResult

    figures = read_figures(scores)
    data = provenance.data.get("validation") or "the validation data"
    for name, title in (("exact_match", "EM"), ("f1", "F1")):
        if name in figures:
            yield EvalResult(
                task_type=_TASK,
                task_name="Extractive question answering",
                dataset_type=printable(provenance.datasets[0]) if provenance.datasets else "custom",
                dataset_name=printable(data),
                dataset_config=printable(evaluation_set) or None,
                dataset_split="validation",
                metric_type=name,
                metric_name=title,
                metric_value=figures[name].value,
            )


def _score_rows(evaluation_set: str, scores: Scores) -> Iterator[CardRow]:
    for name, figure in read_figures(scores).items():
        if name not in PROGRESS:
            yield CardRow(_named(evaluation_set, name), figure.text(), figure.interval_text())


def _thresholds(settings: Mapping[str, Any], by_set: Mapping[str, Scores]) -> Iterator[tuple[str, str]]:
    """The one in use, and those that were best in the evaluation, to the last digit, since they are to be used."""
    if settings.get("version_2_with_negative"):
        yield THRESHOLD_IN_USE, repr(float(settings[THRESHOLD_IN_USE]))
        for evaluation_set, scores in by_set.items():
            for name, value in read_thresholds(scores):
                yield _named(evaluation_set, name), repr(float(value))


def _named(evaluation_set: str, figure: str) -> str:
    return f"{evaluation_set}: {figure}" if evaluation_set else figure
