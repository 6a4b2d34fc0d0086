"""``calibrate RUN``: fits temperatures by which a model's scores say how often it is right."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from qa_lightning.cli.arguments import VerbParser
from qa_lightning.cli.data_format import add_data_format, text_format
from qa_lightning.utils.files import check_can_be_folder
from qa_lightning.utils.terminal import plain_text, printable

if TYPE_CHECKING:
    from qa_lightning.calibrating.calibrate import Calibrated
    from qa_lightning.records import Prediction
    from qa_lightning.runs.comparison_tables import ComparisonTable

_HEAD = ("", "before", "95 %", "after", "95 %", "change, 95 %")
_NAMES = {"ece_width": "ECE by width", "ece_mass": "ECE by mass", "brier": "Brier score", "aurc": "AURC"}


def run(arguments: list[str]) -> None:
    """Calibrates the model that the arguments name, and prints what that has changed.

    Raises:
        UserError: Where the model or the questions are none that it can be calibrated to, or a file cannot be written.
    """
    options = _options(arguments)
    # Imported here, since torch and transformers take seconds that a mistake need not wait for.
    from qa_lightning.calibrating.calibrate import calibrate, remove_calibration
    from qa_lightning.cli.reader_flags import warnings_in_lines

    if options.remove:
        folder = remove_calibration(options.model)
        print(f"The temperatures in {printable(str(folder))} are removed; its scores are its own softmax again")
        return
    if options.output is not None:
        check_can_be_folder(options.output)
    try:
        with warnings_in_lines():
            done = calibrate(
                options.model,
                options.data,
                column_names=options.column_names,
                text_format=text_format(options),
                language=options.language,
                device=options.device,
                progress=_with_progress,
            )
    except KeyboardInterrupt:
        print("stopped: the model is as it was; the same command begins again", file=sys.stderr)
        raise
    for reason in done.unchecked:
        print(
            f"note: whether the model was trained on these questions is not known: {printable(reason)}", file=sys.stderr
        )
    _show(done, options)


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = VerbParser(
        "calibrate", "Fits temperatures by which a model's scores say how often it is right; answers do not change."
    )
    parser.add_argument("model", metavar="RUN", help="folder of a run, of a model, of an exported one or an ensemble")
    parser.add_argument("--data", metavar="FILE", help="questions with golds that the model was not trained on")
    add_data_format(parser)
    parser.add_argument("--language", help="right is what MLQA's rule for this language says; default: SQuAD's")
    parser.add_argument("--device", help="where to run; default: a GPU where there is one")
    parser.add_argument(
        "--output",
        metavar="DIR",
        type=Path,
        help="where to write calibration.html and calibration.parquet; default: the run's folder, where it is a run",
    )
    parser.add_argument("--remove", action="store_true", help="instead, take the temperatures from the model again")
    options = parser.parse_args(arguments)
    if options.remove == (options.data is not None):
        parser.error("give --data FILE, or --remove")
    if options.remove and options.output is not None:
        parser.error("--output goes with --data")
    return options


def _show(done: Calibrated, options: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.table import Table

    from qa_lightning.calibrating.calibrate import check_folder
    from qa_lightning.calibrating.fitting import HOTTEST

    figures, notes = figures_table(done, Path(options.data).name), _notes(done)
    shown = Table(*figures.head, title=plain_text(figures.title))
    for row in figures.rows:
        shown.add_row(*map(plain_text, row))
    Console().print(shown)
    for note in notes:
        print(note)
    if done.temperatures.temperature >= HOTTEST:
        print("No higher temperature is tried: the best spans are right less often than any softmax would say")
    if done.changes["ece_mass"].after >= done.changes["ece_mass"].before:
        print("The calibration error does not fall by it; --remove takes the temperatures away again")
    print(f"The temperatures are kept in {printable(str(check_folder(options.model)))}; no answer changes by them")
    _write(done, options, figures, notes)


def figures_table(done: Calibrated, data: str) -> ComparisonTable:
    """The figures before and after, 0 to 100, each the better the lower.

    Args:
        done: The calibration.
        data: What its questions are called.
    """
    from qa_lightning.runs.comparison_tables import ComparisonTable

    rows: list[tuple[str, ...]] = [
        (
            _NAMES[name],
            f"{100 * change.before:.1f}",
            _interval(change.before_interval),
            f"{100 * change.after:.1f}",
            _interval(change.after_interval),
            " to ".join(f"{100 * limit:+.1f}".replace("-", "\N{MINUS SIGN}") for limit in change.difference_interval),
        )
        for name, change in done.changes.items()
    ]
    return ComparisonTable(f"{len(done.table):,} questions of {data}", _HEAD, rows)


def _interval(limits: tuple[float, float]) -> str:
    return " – ".join(f"{100 * limit:.1f}" for limit in limits)


def _notes(done: Calibrated) -> list[str]:
    fitted = done.temperatures
    temperatures = f"Temperature: {fitted.temperature:.3f}"
    if done.answered.null_allowed:
        temperatures += f"; of no answer: {fitted.null_temperature:.3f}, with the bias {fitted.null_bias:.3f}"
    return [temperatures, "After: each question by temperatures that were fitted to questions on other contexts"]


def _write(done: Calibrated, options: argparse.Namespace, figures: ComparisonTable, notes: list[str]) -> None:
    """Writes page and table where they are asked for, or into the run's folder."""
    from qa_lightning.report.calibration_page import write_calibration
    from qa_lightning.runs.folder import CALIBRATION_PAGE, CALIBRATION_TABLE, RunFolder, display_name
    from qa_lightning.runs.questions import write_table

    run = RunFolder(Path(options.model))
    output = options.output or (run.path if run.is_run else None)
    if output is None:
        return
    confidences = {"before": done.before, "after": done.after}
    table = done.table
    for name, confidence in confidences.items():
        table = table.append_column(f"confidence_{name}", [confidence])
    write_table(output / CALIBRATION_TABLE, table)
    write_calibration(
        output / CALIBRATION_PAGE,
        display_name(options.model),
        [figures.title],
        figures,
        ["All figures are from 0 to 100, the better the lower.", *(f"{note}." for note in notes)],
        confidences,
        done.answered.right,
        done.answered.paragraphs,
    )
    print(f"The page is {printable(str(output / CALIBRATION_PAGE))}")


def _with_progress(parts: Iterable[list[Prediction]], total: int) -> Iterator[list[Prediction]]:
    """Shows on a terminal how far the questions are; elsewhere, a line now and then does."""
    from rich.console import Console
    from rich.progress import Progress

    from qa_lightning.utils.pace import with_progress

    console = Console(stderr=True)
    if not console.is_terminal:
        yield from with_progress(parts, "asking the model", "question", len, total)
        return
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("Asking the model", total=total)
        for part in parts:
            yield part
            progress.advance(task, len(part))
