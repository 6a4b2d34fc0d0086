"""``score``: scores the predictions in a file, or what a model answers, by an official scorer's rule."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from qa_lightning.cli.arguments import VerbParser
from qa_lightning.cli.data_format import add_data_format, text_format
from qa_lightning.data.sources import read_examples
from qa_lightning.runs.predictions import read_predictions, read_probabilities
from qa_lightning.scoring.figures import Figure, is_threshold
from qa_lightning.scoring.mlqa import LANGUAGES, check_language, has_own_rule
from qa_lightning.scoring.rules import rule_name, scorer
from qa_lightning.scoring.squad import evaluate, first_ids
from qa_lightning.utils.errors import UserError
from qa_lightning.utils.files import write_json


def run(arguments: list[str]) -> None:
    """Prints the scores, and writes them where ``--output`` says.

    Raises:
        UserError: A file is missing or of the wrong form, the predictions are for other questions, or the model cannot
            be loaded.
    """
    options = _options(arguments)
    check_language(options.language)
    table = _read_questions(options)
    golds = dict(zip(table["id"].to_pylist(), table["gold_texts"].to_pylist(), strict=True))
    if options.model is not None:
        predictions, na_probs = _ask(options, table)
    else:
        predictions, na_probs = read_predictions(options.predictions)
    if options.na_prob is not None:
        na_probs = read_probabilities(options.na_prob)
    if options.na_prob_thresh is not None and na_probs is None:
        raise UserError(
            "--na_prob_thresh is a threshold on the probabilities of --na_prob, which is not given, or on those of the "
            "predictions, which have none"
        )
    if options.model is None:
        _compare_ids(golds, predictions, options)
    if not has_own_rule(options.language):
        _note(
            f"the language {options.language!r:.80} has no scorer of its own ({', '.join(LANGUAGES)} have): "
            "scored in lower case and without punctuation, by white space, articles kept"
        )
    threshold = 1.0 if options.na_prob_thresh is None else options.na_prob_thresh
    rule = rule_name(options.language, null_allowed=not options.squad_v1)
    figures = evaluate(golds, predictions, na_probs, threshold, scorer(rule))
    if options.output is not None:
        write_json(Path(options.output), figures)
    _print_figures(figures)


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = VerbParser(
        "score", "Scores predictions, or what a model answers, as the official scorers of SQuAD and MLQA do."
    )
    parser.add_argument(
        "--data",
        required=True,
        metavar="FILE",
        help="questions with their golds, in any format that training reads",
    )
    answers = parser.add_mutually_exclusive_group(required=True)
    answers.add_argument(
        "--predictions",
        metavar="FILE",
        help="JSON: id → predicted text, empty for no answer, as a run's predictions.json, or a list of {id, "
        "prediction_text, no_answer_probability}, JSON Lines too; missing ones score 0",
    )
    answers.add_argument(
        "--model",
        metavar="MODEL",
        help="instead, a model that is asked: a run's, a model's or an ensemble's folder, a checkpoint, or a name on "
        "the Hub",
    )
    parser.add_argument("--device", help="where to run the model; default: a GPU where there is one")
    parser.add_argument(
        "--na_prob",
        metavar="FILE",
        help="JSON: id → probability that there is no answer, as a run's na_prob.json; default: those that the "
        "predictions have; adds best_* and pr_*",
    )
    parser.add_argument(
        "--na_prob_thresh",
        type=probability,
        metavar="P",
        help="questions with a higher probability count as left unanswered; default: 1.0",
    )
    parser.add_argument(
        "--language",
        help=f"score by MLQA's rule for this language ({', '.join(LANGUAGES)}); default: by SQuAD 2.0's",
    )
    parser.add_argument(
        "--squad_v1",
        action="store_true",
        help="score by the script for SQuAD 1.1, which differs only where a gold is nothing but articles and "
        "punctuation",
    )
    add_data_format(parser)
    parser.add_argument("--output", metavar="FILE", help="write the scores, with all their digits, as JSON")
    options = parser.parse_args(arguments)
    if options.model is not None and options.na_prob is not None:
        parser.error("--na_prob goes with --predictions; a model has probabilities of its own")
    if options.model is None and options.device is not None:
        parser.error("--device goes with --model")
    return options


def probability(text: str) -> float:
    """A number from 0 to 1, for argparse, which names this function where there is none.

    Raises:
        ValueError: It is none.
    """
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError
    return value


def _read_questions(options: argparse.Namespace) -> pa.Table:
    return read_examples(
        split="validation",
        files=options.data,
        columns=options.column_names,
        text_format=text_format(options),
        training=False,
        version_2_with_negative=True,
        as_published=True,
    ).table


def _ask(options: argparse.Namespace, table: pa.Table) -> tuple[dict[str, str], dict[str, float] | None]:
    """Asks a model the questions: the texts by id, and how likely there is no answer, where there may be none."""
    # Imported here, since they take seconds that files of predictions need not wait for.
    from qa_lightning.cli.reader_flags import warnings_in_lines
    from qa_lightning.reader.examples import null_probabilities, predict_examples
    from qa_lightning.reader.reader import Reader

    with warnings_in_lines():
        reader = Reader.from_pretrained(options.model, device=options.device)
        predictions = list(predict_examples(reader, table))
    texts = {prediction.question.id: prediction.text for prediction in predictions}
    return texts, null_probabilities(reader, predictions)


def _compare_ids(golds: Mapping[str, Any], predictions: Mapping[str, Any], options: argparse.Namespace) -> None:
    """Says which questions lack a prediction, and which predictions a question; refuses where none match."""
    missing = [name for name in golds if name not in predictions]
    unknown = [name for name in predictions if name not in golds]
    found = "; ".join(
        [
            *_count(missing, len(golds), "questions have no prediction, which scores 0"),
            *_count(unknown, len(predictions), "predictions are for unknown ids"),
        ]
    )
    if len(missing) == len(golds):
        raise UserError(f"{options.predictions}: no prediction for any question of {options.data}: {found}")
    if found:
        _note(found)


def _count(ids: Sequence[str], total: int, what: str) -> list[str]:
    return [f"{len(ids)} of {total} {what} ({first_ids(ids)})"] if ids else []


def _note(text: str) -> None:
    print(f"note: {text}", file=sys.stderr)


def _print_figures(figures: Mapping[str, float]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("score", "value", title="Scores")
    for name, value in figures.items():
        table.add_row(name, _digits(name, value))
    Console().print(table)


def _digits(name: str, value: float) -> str:
    """Counts as whole numbers, thresholds to the last digit, since they are to be used, and scores rounded."""
    return repr(value) if is_threshold(name) else Figure(name, value).text()
