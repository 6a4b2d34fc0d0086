"""``inspect``: what a training would be given, in numbers and examples, before anything is trained."""

from __future__ import annotations

import base64
import hashlib
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser

from qa_lightning.data.alignment import KINDS
from qa_lightning.data.datamodule import QADataModule
from qa_lightning.data.inspection import Example, Inspection, Lengths, inspect_split, sample_examples
from qa_lightning.errors import UserError
from qa_lightning.files import whole_file
from qa_lightning.lightning_cli import QACLI
from qa_lightning.parser import check_configs, flag_value
from qa_lightning.refusals import Progress, refusals_in_one_line
from qa_lightning.runs import earlier_settings
from qa_lightning.terminal import printable

TEMPLATE = Path(__file__).with_name("inspection.html.j2")

SIDE_BY_SIDE = 2
"""Splits that stand beside each other in the terminal, so that 80 columns hold them."""


class DataCLI(QACLI):
    """The command line of ``fit`` with the flags of ``inspect``, which builds the data module and nothing else.

    Args:
        arguments: What follows ``inspect``.
    """

    def __init__(self, arguments: list[str]) -> None:
        # Lightning 2.6 calls what jsonargparse 5 will drop, and `instantiate_classes` does as it does.
        warnings.filterwarnings("ignore", r"(?s).*(removed in v5\.0\.0|one JsonargparseDeprecationWarning)")
        super().__init__(arguments, ExitStack(), Progress())

    def setup_parser(
        self, add_subcommands: bool, main_kwargs: dict[str, Any], subparser_kwargs: dict[str, Any]
    ) -> None:
        """Makes one parser, without subcommands."""
        told = "Looks at the data that fit would train and validate on; takes the configs and flags of fit."
        super().setup_parser(False, {"prog": "python -m qa_lightning inspect", "description": told}, {})

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds the flags of ``inspect`` to those of ``fit``."""
        parser.add_argument("--samples", type=int, default=10, help="How many examples to show.")
        parser.add_argument("--seed", type=int, default=0, help="Of the examples, and of every estimate.")
        parser.add_argument("--html", type=str | None, default=None, help="File to write the same to, as a page.")
        super().add_arguments_to_parser(parser)
        parser.add_method_arguments(pl.Trainer, "fit", skip=self.subcommands()["fit"])

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses the arguments over the settings of the run or checkpoint that they name."""
        check_configs(args)
        self.config = parser.parse_args(earlier_settings(["inspect", *args])[1:])
        self.config.seed_everything = False  # --seed rules all that is drawn here
        self.config.subcommand = None  # Lightning asks which it is

    def before_instantiate_classes(self) -> None:
        """Makes no run folder."""
        del self.config["subcommand"]  # which is no key of the parser

    def instantiate_classes(self) -> None:
        """Builds the data module."""
        with refusals_in_one_line(Progress()):
            self.data = self.parser.instantiate_classes(Namespace(data=self.config.data)).data


@dataclass(frozen=True)
class Table:
    """A table for the terminal and for the page; all cells are text, which may be data.

    Attributes:
        title: Its title.
        head: The columns' names; the first is that of the rows' names.
        groups: Rows under a name.
    """

    title: str
    head: Sequence[str]
    groups: Sequence[tuple[str, Sequence[Sequence[str]]]]


def run(arguments: list[str]) -> None:
    """Prints what is in each split, then examples; with ``--html``, writes a page with the same.

    Args:
        arguments: What follows the verb: the configs and flags of ``fit``, ``--samples``, ``--seed``, ``--html``.

    Raises:
        UserError: For every fault in the data or the settings.
    """
    cli = DataCLI(arguments)
    config, data = cli.config, cli.data
    max_answer_length = config.model.init_args.get("max_answer_length", 30)
    for name, value, least in (
        ("max_answer_length", max_answer_length, 1),
        ("samples", config.samples, 0),
        ("seed", config.seed, 0),
    ):
        if value < least:
            raise UserError(f"{name} must be at least {least}, not {value}")
    page = config.html and Path(config.html)
    if page and page.is_dir():
        raise UserError(f"{page}: is a folder; --html names a file")

    data.setup("fit")
    if data.files["test"] is not None:
        data.setup("test")
    found = {
        "/".join(filter(None, (name, part.dataset.name))): inspect_split(
            part, data.recipe, max_answer_length=max_answer_length, seed=config.seed
        )
        for name, parts in data.splits.items()
        for part in parts
    }
    examples = sample_examples(data.splits["train"][0], data.recipe.answers, config.samples, config.seed)
    settings, lengths = _settings(data, max_answer_length), _lengths(found)
    few = [dict(list(found.items())[i : i + SIDE_BY_SIDE]) for i in range(0, len(found), SIDE_BY_SIDE)]
    _print(settings, [*map(_numbers, few), lengths], examples)
    if page:
        title = Path(flag_value(arguments, "config", "-c") or "data").stem
        with whole_file(page) as unfinished:
            unfinished.write_text(render(title, settings, [_numbers(found), lengths], examples), encoding="utf-8")
        print(f"The page is {page}")


def render(
    title: str, settings: Sequence[tuple[str, str]], tables: Sequence[Table], examples: Sequence[Example]
) -> str:
    """The page; every text is escaped, and nothing but its own style is allowed to it."""
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.globals["notes"] = notes
    environment.filters["sha256"] = lambda text: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(title=title, settings=settings, tables=tables, examples=examples)


def _settings(data: QADataModule, max_answer_length: int) -> list[tuple[str, str]]:
    """Names and values of what the numbers depend on."""
    recipe = data.recipe
    values = {
        "tokenizer": data.tokenizer_name,
        "max_length": recipe.max_length,
        "doc_stride": recipe.doc_stride,
        "max_question_length": recipe.max_question_length,
        "max_answer_length": max_answer_length,
        "version_2_with_negative": recipe.version_2_with_negative,
        "on_misaligned": recipe.on_misaligned,
        "answers": recipe.answers,
        "allow_impossible_windows": recipe.allow_impossible_windows,
    }
    return [(name, str(value).lower() if isinstance(value, bool) else str(value)) for name, value in values.items()]


def _numbers(found: dict[str, Inspection]) -> Table:
    """A column for each split; details that no split has are left out."""
    columns = [_figures(one) for one in found.values()]
    groups = []
    for group, labels in columns[0].items():
        rows = [(label, *(column[group][label] for column in columns)) for label in labels]
        groups.append((group, [row for row in rows if ": " not in row[0] or set(row[1:]) != {"0"}]))
    return Table("Splits", ["", *found], groups)


def _figures(one: Inspection) -> dict[str, dict[str, str]]:
    """What one split's column says, by group and by row."""

    def share(part: int, whole: int) -> str:
        return f"{part:,} ({100 * part / whole:.1f}\N{NO-BREAK SPACE}%)" if part else "0"

    golds, ceiling = sum(one.alignment.values()), one.ceiling
    about = "≈ " if ceiling.searched < ceiling.hard else ""
    repairs = [kind for kind in KINDS if kind not in ("exact", "no_offset", "not_found")]
    return {
        "Questions": {
            "questions": f"{one.questions:,}",
            "distinct contexts": f"{one.contexts:,}",
            "unanswerable": share(one.unanswerable, one.questions),
            "cut at max_question_length": share(one.questions_cut, one.questions),
            **{f"dropped: {reason}": f"{count:,}" for reason, count in one.dropped.items()},
        },
        "Gold answers": {
            "golds": f"{golds:,}",
            "golds of an answerable question, mean": f"{one.golds_per_question:.2f}",
            "golds of a question, max": f"{one.most_golds:,}",
            "exact": share(one.alignment["exact"], golds),
            "found: without an offset": share(one.alignment["no_offset"], golds),
            **{f"repaired: {kind}": share(one.alignment[kind], golds) for kind in repairs},
            "not found": share(one.alignment["not_found"], golds),
        },
        "Windows": {
            "windows": f"{one.windows:,}",
            "windows of a question, mean": f"{one.windows / one.questions:.2f}",
            "windows of a question, max": f"{one.most_windows:,}",
            "questions of several windows": share(one.questions_of_several_windows, one.questions),
            "dropped: windows without an answer": share(one.windows_dropped, one.windows),
        },
        "Within reach": {
            "golds that no window holds whole": share(one.never_whole, one.located),
            "golds above max_answer_length": share(one.too_long, one.located),
            "best EM, by SQuAD's rule": f"{about}{ceiling.exact:.2f}",
            "best F1, by SQuAD's rule": f"{about}{ceiling.f1:.2f}",
            "≈: hard questions searched": f"{ceiling.searched:,} of {ceiling.hard:,}" if about else "0",
        },
    }


def _lengths(found: dict[str, Inspection]) -> Table:
    """A row for each split under each thing that is measured."""

    def row(split: str, lengths: Lengths | None) -> list[str]:
        cells = ["–"] * 6 if lengths is None else [f"{x:,.1f}" if isinstance(x, float) else f"{x:,}" for x in lengths]
        return [split, *cells]

    measured = next(iter(found.values())).lengths
    return Table(
        "Lengths",
        ["", "min", "median", "mean", "90 %", "99 %", "max"],
        [
            (f"{what}, in {unit}", [row(split, one.lengths[what, unit]) for split, one in found.items()])
            for what, unit in measured
        ],
    )


def _print(settings: Sequence[tuple[str, str]], tables: Sequence[Table], examples: Sequence[Example]) -> None:
    """Prints tables and examples, as text and nothing but text."""
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    console = Console()
    shown = RichTable("setting", "value", title="Settings")
    for name, value in settings:
        shown.add_row(name, Text(printable(value)))
    console.print(shown)
    for table in tables:
        shown = RichTable(title=table.title)
        for number, name in enumerate(table.head):
            shown.add_column(Text(printable(name)), justify="right" if number else "left", overflow="fold")
        for group, rows in table.groups:
            shown.add_section()
            shown.add_row(Text(group, style="bold"))
            for row in rows:
                shown.add_row(*(Text(printable(cell)) for cell in row))
        console.print(shown)
    mark = ("", "") if console.is_terminal else ("»", "«")  # where style is lost
    for number, one in enumerate(examples, 1):
        console.rule(Text(printable(f"Example {number} · {one.id}")))
        console.print(Text(printable(one.question), style="bold"))
        text = Text(printable(one.before))
        if one.answer is not None:
            text.append(mark[0] + printable(one.answer) + mark[1], style="bold reverse")
        console.print(text.append(printable(one.after)))
        for name, value in notes(one).items():
            console.print(Text(f"{name}: {printable(value)}", style="italic"))


def notes(one: Example) -> dict[str, str]:
    """What there is to say of an example besides its question and the answer in its context."""
    said = {}
    if one.answer is None:
        said["answer"] = "none, the question is unanswerable"
    if one.golds:
        said["published"] = " | ".join(one.golds)
    if one.answer is not None and one.label != one.answer:
        said["tokens cover"] = one.label or "nothing"
    return said
