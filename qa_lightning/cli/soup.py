"""``soup RUN…``: averages the weights of runs, and writes the model as a plain folder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from qa_lightning.cli.arguments import VerbParser
from qa_lightning.cli.reader_flags import warnings_in_lines
from qa_lightning.utils.terminal import plain_text

if TYPE_CHECKING:
    from qa_lightning.ensembling.soup import Soup


def run(arguments: list[str]) -> None:
    """Writes the folder that the arguments ask for, and prints what is in it.

    Raises:
        UserError: Where the weights cannot be averaged, or a file cannot be read or written.
    """
    options = _options(arguments)
    # Imported here, since torch and transformers take seconds that a mistake need not wait for.
    from qa_lightning.ensembling.soup import make_soup

    with warnings_in_lines():
        soup = make_soup(
            options.runs, options.output, data=options.data, greedy=options.greedy, language=options.language
        )
    if soup.f1_of_runs is not None:
        _print_scores(soup, options)
    print(f"The mean of the weights of {', '.join(soup.kept)} is in {options.output}")


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = VerbParser("soup", "Averages the weights of runs of one architecture, as one model in a plain folder.")
    parser.add_argument(
        "runs",
        metavar="RUN",
        nargs="+",
        help="two or more: folders of runs or of models, checkpoints, or names on the Hub",
    )
    parser.add_argument("--output", required=True, metavar="DIR", type=Path, help="where to write; a new folder")
    parser.add_argument(
        "--data", metavar="FILE", help="questions with golds, on which the runs and their mean are scored"
    )
    parser.add_argument(
        "--greedy", action="store_true", help="from the best run on, add those by which F1 on --data does not fall"
    )
    parser.add_argument("--language", help="score by MLQA's rule for this language; default: by SQuAD's")
    options = parser.parse_args(arguments)
    if len(options.runs) < 2:
        parser.error("give two runs or more")
    if options.data is None and (options.greedy or options.language is not None):
        parser.error("--greedy and --language go with --data: the file is what runs are scored on")
    return options


def _print_scores(soup: Soup, options: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.table import Table

    assert soup.f1_of_runs is not None
    assert soup.f1 is not None
    table = Table("model", "F1", "in the mean", title=plain_text(f"on {Path(options.data).name}"))
    for name, f1 in soup.f1_of_runs.items():
        table.add_row(plain_text(name), f"{f1:.2f}", "yes" if name in soup.kept else "no")
    table.add_row("the mean", f"{soup.f1:.2f}", "")
    Console().print(table)
    if options.greedy:
        print("The runs were chosen by this figure, so that it flatters the mean: score it on other questions")
