"""``evaluate --suite xquad --model …``: scores models on many sets, by one command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qa_lightning.cli.arguments import VerbParser
from qa_lightning.cli.reader_flags import warnings_in_lines
from qa_lightning.scoring.mlqa import LANGUAGES, has_own_rule
from qa_lightning.suites.suite import RULES, EvaluationSet, Suite
from qa_lightning.suites.suite_file import read_suite, shipped_suites
from qa_lightning.utils.errors import UserError
from qa_lightning.utils.files import check_can_be_folder
from qa_lightning.utils.terminal import plain_text, printable

if TYPE_CHECKING:
    from rich.console import Console

    from qa_lightning.suites.results import ResultRow
    from qa_lightning.suites.scores import SetScores

_MOST_FILES = 12
"""How many missing files a message names."""


def run(arguments: list[str]) -> None:
    """Prints the scores of the models that the arguments name, and writes them as a page and as tables.

    Raises:
        UserError: Where the suite, a set or a model cannot be read, or a file cannot be written.
    """
    options = _options(arguments)
    suite = _chosen(read_suite(options.suite), options)
    output = options.output or Path("evaluations", suite.name)
    check_can_be_folder(output)
    sets, missing = _present(suite, options)
    _note_rules(sets)
    # Imported here, since they take seconds that --help and a mistake above need not wait for.
    from rich.console import Console

    from qa_lightning.suites.evaluation import evaluate_models
    from qa_lightning.suites.models import find_models
    from qa_lightning.suites.questions import read_questions
    from qa_lightning.suites.results import result_rows

    models = find_models(options.model, options.names)
    questions = list(read_questions(suite, sets, options.data_dir))
    console, scores = Console(highlight=False, soft_wrap=True), []
    try:
        with warnings_in_lines():
            for found in evaluate_models(models, questions, output, device=options.device, watch=_watched):
                scores.append(found)
                console.print(plain_text(_line(found)))
    except (KeyboardInterrupt, SystemExit):
        done = f"{len(scores)} of {len(models) * len(sets)} sets are scored"
        print(f"stopped: {done}; the same command goes on", file=sys.stderr)
        raise
    rows = result_rows(suite, scores)
    _write(output, suite, rows, missing)
    _print_tables(Console(), suite, rows)
    console.print(plain_text(f"The page is {output / 'results.html'}, beside it the same as .parquet, .tex and .md"))


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = VerbParser(
        "evaluate", "Scores models on a suite of sets: each set by its own rule, with averages and a page."
    )
    parser.add_argument(
        "--suite", required=True, metavar="SUITE", help=f"{', '.join(shipped_suites())}, or a file of yours: FILE.yaml"
    )
    parser.add_argument(
        "--model",
        required=True,
        nargs="+",
        metavar="MODEL",
        help="folders of runs, models or ensembles, checkpoints, or names on the Hub",
    )
    parser.add_argument(
        "--names", nargs="+", metavar="NAME", help="what tables call the models; default: their folders"
    )
    parser.add_argument(
        "--data_dir",
        type=Path,
        metavar="DIR",
        help="read the sets from files in DIR, of the names that the suite gives, and not from the Hub",
    )
    parser.add_argument("--sets", nargs="+", metavar="SET", help="only these sets of the suite")
    parser.add_argument("--skip_missing", action="store_true", help="leave out sets whose files are not there")
    parser.add_argument("--rule", choices=RULES, help="score all sets by this rule, and not by their own")
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="where to write, and to go on from; default: evaluations/SUITE"
    )
    parser.add_argument("--device", help="where to run the models; default: a GPU where there is one")
    options = parser.parse_args(arguments)
    if options.data_dir is not None and not options.data_dir.is_dir():
        parser.error(f"--data_dir {options.data_dir}: no such folder")
    return options


def _chosen(suite: Suite, options: argparse.Namespace) -> Suite:
    """The suite with the sets and the rule that are asked for."""
    names = [each.name for each in suite.sets]
    for name in options.sets or ():
        if name not in names:
            raise UserError(f"--sets: {suite.name} has no set {name!r:.80}; it has {', '.join(names)}")
    for each in suite.sets:
        if options.rule == "mlqa" and each.language is None:
            raise UserError(f"--rule mlqa: the set {each.name!r} of {suite.name} has no language")
    if options.rule is not None:
        suite = replace(suite, sets=tuple(replace(each, rule=options.rule) for each in suite.sets))
    return suite


def _present(suite: Suite, options: argparse.Namespace) -> tuple[list[EvaluationSet], list[str]]:
    """The sets to score, and the names of those that are left out because their files are not there."""
    from qa_lightning.suites.questions import split_by_presence

    wanted = [each for each in suite.sets if options.sets is None or each.name in options.sets]
    sets, files = split_by_presence(suite, wanted, options.data_dir)
    if not files:
        return sets, []
    missing = [each.name for each in wanted if each not in sets]
    named = ", ".join(str(path) for path in files[:_MOST_FILES])
    more = f" and {len(files) - _MOST_FILES} more" if len(files) > _MOST_FILES else ""
    line = f"{len(missing)} of the {len(wanted)} sets of {suite.name} are not there; looked for {named}{more}"
    if not sets:
        raise UserError(f"{line}; name their folder by --data_dir")
    if not options.skip_missing:
        raise UserError(f"{line}; --skip_missing scores the others ({', '.join(each.name for each in sets)})")
    print(f"note: {printable(line)}", file=sys.stderr)
    return sets, missing


def _note_rules(sets: Sequence[EvaluationSet]) -> None:
    """Says which sets are scored by MLQA's rule in languages that it does not know."""
    plain = [
        each.language
        for each in sets
        if each.scoring_rule == (each.language or "").lower() and not has_own_rule(each.language)
    ]
    if plain:
        print(
            f"note: MLQA's rule knows {', '.join(LANGUAGES)}; {', '.join(dict.fromkeys(map(str, plain)))}: scored in "
            "lower case and without punctuation, by white space, articles kept",
            file=sys.stderr,
        )


def _watched(predictions: Iterable[Any], title: str, total: int) -> Iterator[Any]:
    """Hands predictions on, and shows how many there are, where there is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield from predictions
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        yield from progress.track(predictions, total=total, description=printable(title))


def _line(found: SetScores) -> str:
    figures = found.figures
    kept = "" if found.is_new else ", kept from before"
    return (
        f"{found.model}, {found.evaluation_set.name}: EM {figures['exact']:.2f}, F1 {figures['f1']:.2f} "
        f"({int(figures['total']):,} questions{kept})"
    )


def _write(output: Path, suite: Suite, rows: Sequence[ResultRow], missing: Sequence[str]) -> None:
    from qa_lightning.suites.page import write_suite_page
    from qa_lightning.suites.results import write_results
    from qa_lightning.suites.tables import paper_tables, to_latex, to_markdown
    from qa_lightning.utils.files import whole_file

    tables = paper_tables(suite, rows)
    for name, text in (("results.tex", to_latex(tables)), ("results.md", to_markdown(tables))):
        with whole_file(output / name) as unfinished:
            unfinished.write_text(text, encoding="utf-8", newline="\n")
    write_results(output / "results.parquet", suite, rows)
    write_suite_page(output / "results.html", suite, rows, missing)


def _print_tables(console: Console, suite: Suite, rows: Sequence[ResultRow]) -> None:
    from rich.table import Table

    from qa_lightning.suites.tables import terminal_tables

    for made in terminal_tables(suite, rows):
        table = Table(title=plain_text(made.caption))
        for i, name in enumerate(made.head):
            table.add_column(plain_text(name), justify="right" if i else "left")
        for cells in made.rows:
            table.add_row(*map(plain_text, cells))
        console.print(table)
