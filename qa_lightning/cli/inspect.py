"""``inspect``: what a training would be given, in numbers and examples, before anything is trained."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from jsonargparse import Namespace
from jsonargparse.typing import NonNegativeInt
from lightning.pytorch.cli import LightningArgumentParser

from qa_lightning.cli.lightning import QACLI
from qa_lightning.cli.options import INSPECT_OPTIONS
from qa_lightning.cli.parser import check_configs, named_places
from qa_lightning.cli.shared_values import check_shared_values
from qa_lightning.data.datamodule import QADataModule
from qa_lightning.inspection.augmented import augmented_examples
from qa_lightning.inspection.checks import check_splits
from qa_lightning.inspection.histograms import histograms
from qa_lightning.inspection.optimizer import optimizer_table
from qa_lightning.inspection.page import notes, render
from qa_lightning.inspection.statistics import Example, inspect_split, sample_examples
from qa_lightning.inspection.tables import (
    TOKEN_COLUMNS,
    Table,
    checks,
    data_name,
    found_ids,
    lengths,
    numbers,
    settings_rows,
    token_rows,
    window_title,
)
from qa_lightning.inspection.window_view import WindowView, sample_windows
from qa_lightning.pretrained.loading import load_tokenizer
from qa_lightning.runs.resume import earlier_settings
from qa_lightning.scoring.mlqa import check_language
from qa_lightning.scoring.rules import rule_name
from qa_lightning.utils.bounds import check_between
from qa_lightning.utils.errors import UserError
from qa_lightning.utils.files import whole_file
from qa_lightning.utils.refusals import Progress, unwrap_user_errors
from qa_lightning.utils.terminal import plain_text, printable

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
        description = "Looks at the data that fit would train and validate on; takes the configs and flags of fit."
        super().setup_parser(False, {"prog": "python -m qa_lightning inspect", "description": description}, {})

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds the flags of ``inspect`` to those of ``fit``."""
        kinds = dict.fromkeys(("samples", "windows", "seed"), NonNegativeInt) | {"optimizer": bool, "html": str | None}
        defaults = {"samples": 10, "windows": 1, "seed": 0, "optimizer": False}
        for name, text in INSPECT_OPTIONS.items():
            parser.add_argument(f"--{name}", type=kinds[name], default=defaults.get(name), help=text)
        super().add_arguments_to_parser(parser)
        parser.add_method_arguments(pl.Trainer, "fit", skip=self.subcommands()["fit"])

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses the arguments over the settings of the run or checkpoint that they name."""
        places = named_places(args)
        check_configs(places.config)
        check_shared_values(args, os.environ if parser.default_env else None)
        self.config = parser.parse_args([*earlier_settings("inspect", places.run_dir, places.ckpt_path), *args])
        self.config.seed_everything = False  # --seed rules all that is drawn here
        self.config.subcommand = None  # Lightning asks which it is

    def before_instantiate_classes(self) -> None:
        """Makes no run folder."""
        del self.config["subcommand"]  # which is no key of the parser

    def instantiate_classes(self) -> None:
        """Builds the data module, or, for ``--optimizer``, the model."""
        section = "model" if self.config.optimizer else "data"
        with unwrap_user_errors(Progress()):
            built = self.parser.instantiate_classes(Namespace({section: self.config[section]}))
        self.model, self.data = built.get("model"), built.get("data")


def run(arguments: list[str]) -> None:
    """Prints what is in each split, then examples and windows; with ``--html``, writes a page with the same.

    With ``--optimizer``, prints the groups of parameters instead, and reads no data.

    Args:
        arguments: What follows the verb: the configs and flags of ``fit``, ``--samples``, ``--windows``, ``--seed``,
            ``--html``, ``--optimizer``.

    Raises:
        UserError: For every fault in the data or the settings.
    """
    cli = DataCLI(arguments)
    if cli.config.optimizer:
        if cli.config.html is not None:
            raise UserError("--html writes a page about data, which --optimizer reads none of; leave out one of them")
        _print([], [optimizer_table(cli.model)], [], [], [])
        return
    config, data = cli.config, cli.data
    max_answer_length = config.model.init_args.get("max_answer_length", 30)
    check_between("max_answer_length", max_answer_length, 1)
    page = config.html and Path(config.html)
    if page and page.is_dir():
        raise UserError(f"{page}: is a folder; --html names a file")

    language = config.model.init_args.get("language")
    for code in language.values() if isinstance(language, Mapping) else [language]:
        check_language(code)

    found, read = {}, {}
    with _at_work("Reading and tokenising") as says:
        for stage in _stages(data):
            data.setup(stage)
        for split, parts in data.splits.items():
            for part in parts:
                name = "/".join(filter(None, (split, part.dataset.name)))
                says(f"Measuring {name}")
                code = language.get(part.dataset.name) if isinstance(language, Mapping) else language
                rule = rule_name(code, null_allowed=data.split_config.version_2_with_negative)
                found[name] = inspect_split(part, data.split_config, max_answer_length=max_answer_length, rule=rule)
                read[name] = part.table
        says("Checking")
        findings = check_splits(read)
        says("Drawing examples")
        shown = next(iter(data.splits.values()))[0]
        examples = sample_examples(shown, data.split_config.answers, config.samples, config.seed)
        examples += augmented_examples(data, config.samples, config.seed)
        tokenizer = load_tokenizer(str(data.tokenizer_name))
        windows = sample_windows(shown, tokenizer, config.windows, config.seed)

    settings, of_lengths = settings_rows(data, max_answer_length), lengths(found)
    few = [list(found)[i : i + SIDE_BY_SIDE] for i in range(0, len(found), SIDE_BY_SIDE)]
    of_splits = [numbers({name: found[name] for name in names}) for names in few]
    of_checks = [checks({name: findings[name] for name in names}) for names in few]
    ids = found_ids(findings)
    _print(settings, [*of_splits, *of_checks, of_lengths], ids, examples, windows)
    if page:
        tables = [numbers(found), checks(findings), of_lengths]
        text = render(data_name(data.sources), settings, tables, ids, histograms(found), examples, windows)
        with whole_file(page) as unfinished:
            unfinished.write_text(text, encoding="utf-8")
        print(f"The page is {page}")


def _stages(data: QADataModule) -> list[str]:
    """The stages to set up for all the splits that are named."""
    stages = ["fit"] if data.sources.has("train") else ["validate"] if data.sources.has("validation") else []
    if data.sources.files["test"] is not None:
        stages.append("test")
    return stages or ["fit"]  # which says what is missing


@contextmanager
def _at_work(what: str) -> Iterator[Callable[[str], None]]:
    """Shows on a terminal what is being done, and for how long; gives a function to call with what is done next."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=None)
        # Lightning's messages go round what is shown, not through it.
        handlers = [
            handler
            for handler in logging.getLogger("lightning.pytorch").handlers
            if type(handler) is logging.StreamHandler
        ]
        before = [(handler, handler.setStream(sys.stderr)) for handler in handlers]
        try:
            yield lambda now: progress.update(task, description=printable(now), refresh=True)
        finally:
            for handler, stream in before:
                if stream is not None:
                    handler.setStream(stream)


def _print(
    settings: Sequence[tuple[str, str]],
    tables: Sequence[Table],
    ids: Sequence[tuple[str, str]],
    examples: Sequence[Example],
    windows: Sequence[WindowView],
) -> None:
    """Prints tables, examples and windows, as text and nothing but text."""
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    console = Console()
    if settings:
        shown = RichTable("setting", "value", title="Settings")
        for name, value in settings:
            shown.add_row(name, plain_text(value))
        console.print(shown)
    for table in tables:
        shown = RichTable(title=table.title)
        for number, name in enumerate(table.head):
            shown.add_column(plain_text(name), justify="right" if number else "left", overflow="fold")
        for group, rows in table.groups:
            shown.add_section()
            shown.add_row(Text(group, style="bold"))
            for row in rows:
                shown.add_row(*(plain_text(cell) for cell in row))
        console.print(shown)
    for what, names in ids:
        console.print(Text(f"{printable(what)}: {printable(names)}"))
    mark = ("", "") if console.is_terminal else ("»", "«")  # where style is lost
    for number, example in enumerate(examples, 1):
        console.rule(plain_text(f"Example {number} · {example.id}"))
        console.print(plain_text(example.question, style="bold"))
        text = plain_text(example.before)
        if example.answer is not None:
            text.append(mark[0] + printable(example.answer) + mark[1], style="bold reverse")
        console.print(text.append(printable(example.after)))
        for name, value in notes(example).items():
            console.print(Text(f"{name}: {printable(value)}", style="italic"))
    for window in windows:
        console.rule(plain_text(window_title(window)))
        console.print(plain_text(window.decoded))
        shown = RichTable(*TOKEN_COLUMNS)
        for cells in token_rows(window, whole=False):
            shown.add_row(*(plain_text(cell) for cell in cells), style="bold" if cells[-1] else None)
        console.print(shown)
