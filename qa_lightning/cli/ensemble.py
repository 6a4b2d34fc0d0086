"""``ensemble RUN…``: writes a folder that answers as several models together."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from qa_lightning.cli.arguments import VerbParser
from qa_lightning.cli.reader_flags import warnings_in_lines
from qa_lightning.utils.terminal import plain_text

if TYPE_CHECKING:
    from qa_lightning.ensembling.ensemble import MadeEnsemble
    from qa_lightning.ensembling.fitting import FittedWeights


def run(arguments: list[str]) -> None:
    """Writes the folder that the arguments ask for, and prints how much each member counts.

    Raises:
        UserError: Where a member cannot be loaded, members do not go together, or a file cannot be read or written.
    """
    options = _options(arguments)
    # Imported here, since torch and transformers take seconds that a mistake need not wait for.
    from qa_lightning.ensembling.ensemble import make_ensemble

    with warnings_in_lines():
        made = make_ensemble(
            options.runs, options.output, weights=options.weights, data=options.data, language=options.language
        )
    _print_members(made, options)
    if made.fitted is not None:
        _print_figures(made.fitted)
    print(f"The ensemble is in {options.output}; its members stay where they are")


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = VerbParser("ensemble", "Writes a folder that answers as several models together.")
    parser.add_argument(
        "runs",
        metavar="RUN",
        nargs="+",
        help="two or more: folders of runs or of models, checkpoints, or names on the Hub",
    )
    parser.add_argument("--output", required=True, metavar="DIR", type=Path, help="where to write; a new folder")
    parser.add_argument(
        "--weights",
        metavar="WEIGHT",
        nargs="+",
        type=float,
        help="how much each run counts, in their order; default: all the same",
    )
    parser.add_argument("--data", metavar="FILE", help="questions with golds, to which the weights are fitted by F1")
    parser.add_argument("--language", help="score by MLQA's rule for this language; default: by SQuAD's")
    options = parser.parse_args(arguments)
    if len(options.runs) < 2:
        parser.error("give two runs or more")
    if options.data is not None and options.weights is not None:
        parser.error("give --weights, or --data to fit them to; not both")
    if options.data is None and options.language is not None:
        parser.error("--language goes with --data, which is scored by it")
    return options


def _print_members(made: MadeEnsemble, options: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.table import Table

    title = "Members" if made.fitted is None else f"Members, fitted to {Path(options.data).name}"
    table = Table("model", "weight", title=plain_text(title))
    alone = [""] * len(made.weights)
    if made.fitted is not None:
        table.add_column("F1 alone")
        alone = [f"{f1:.2f}" for f1 in made.fitted.f1_of_members]
    for name, weight, f1 in zip(options.runs, made.weights, alone, strict=True):
        table.add_row(plain_text(name), f"{weight:.3f}", *([f1] if made.fitted is not None else []))
    Console().print(table)


def _print_figures(fitted: FittedWeights) -> None:
    print(f"F1 with equal weights: {fitted.f1_of_equal:.2f}")
    print(f"F1 with fitted weights: {fitted.f1:.2f}, each question by weights that were fitted to other contexts")
    if fitted.f1 <= max(fitted.f1_of_members):
        print("The best member alone does as well on these questions")
    elif fitted.f1 <= fitted.f1_of_equal:
        print("Equal weights do as well; leave --data out to have them")
