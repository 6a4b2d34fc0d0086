"""The tables of ``inspect``: settings, figures of each split, checks, lengths, and the tokens of a window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from qa_lightning.data.alignment import KINDS
from qa_lightning.data.datamodule import QADataModule
from qa_lightning.data.split_sources import SplitSources
from qa_lightning.inspection.checks import Finding
from qa_lightning.inspection.statistics import Inspection, Lengths
from qa_lightning.inspection.window_view import WindowView, shortened
from qa_lightning.scoring.rules import SQUAD_V1, SQUAD_V2
from qa_lightning.scoring.squad import first_ids

TOKEN_COLUMNS = ("position", "token", "text", "characters", "part", "label")
"""The columns of the tokens of a window."""


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


def data_name(sources: SplitSources) -> str:
    """What to call data: the names of its files, or of its data set on the Hub, or of the synthetic corpus."""
    of_sets = [of_set.file or of_set.dataset_name for of_set in sources.train_sets.values()]
    names = list(
        dict.fromkeys(Path(file).name for files in (*of_sets, *sources.files.values()) for file in _flat(files))
    )
    if not names and sources.dataset_name is not None:
        parts = (Path(sources.dataset_name).name if Path(sources.dataset_name).exists() else sources.dataset_name,)
        names = [" ".join(filter(None, (*parts, sources.dataset_config_name)))]
    if not names:
        return "synthetic corpus"
    more = [f"{len(names) - 2} more"] if len(names) > 3 else names[2:]
    shown = [*names[:2], *more]
    return " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))


def _flat(files: object) -> list[str]:
    """All the files of a split's setting."""
    if isinstance(files, dict):
        return [file for part in files.values() for file in _flat(part)]
    return list(files) if isinstance(files, list) else [str(files)] if files is not None else []


def settings_rows(data: QADataModule, max_answer_length: int) -> list[tuple[str, str]]:
    """Names and values of what the numbers depend on."""
    config = data.split_config
    values = {
        "tokenizer": data.tokenizer_name,
        "max_length": config.max_length,
        "doc_stride": config.doc_stride,
        "max_question_length": config.max_question_length,
        "max_answer_length": max_answer_length,
        "version_2_with_negative": config.version_2_with_negative,
        "on_misaligned": config.on_misaligned,
        "answers": config.answers,
        "allow_impossible_windows": config.allow_impossible_windows,
    }
    return [(name, str(value).lower() if isinstance(value, bool) else str(value)) for name, value in values.items()]


def numbers(found: dict[str, Inspection]) -> Table:
    """A column for each split; details that no split has are left out."""
    columns = [_figures(split) for split in found.values()]
    groups = []
    for group in columns[0]:
        # Splits differ in why they lost questions.
        labels = dict.fromkeys(label for column in columns for label in column[group])
        rows = [(label, *(column[group].get(label, "0") for column in columns)) for label in labels]
        groups.append((group, [row for row in rows if ": " not in row[0] or set(row[1:]) != {"0"}]))
    return Table("Splits", ["", *found], groups)


def checks(found: Mapping[str, Sequence[Finding]]) -> Table:
    """A column for each split, with how many questions or contexts each check found."""
    rows = {}
    for findings in found.values():
        for finding in findings:
            cells = []
            for split in found.values():
                counts = [(other.count, other.of) for other in split if other.check == finding.check]
                cells.append(share(*counts[0]) if counts else "–")
            rows[finding.check] = [finding.check, *cells]
    shared = [row for check, row in rows.items() if "train" in check]
    groups = [("Shared with train", shared), ("Golds", [row for row in rows.values() if row not in shared])]
    return Table("Checks", ["", *found], [(name, group) for name, group in groups if group])


def found_ids(found: Mapping[str, Sequence[Finding]]) -> list[tuple[str, str]]:
    """For each check that found something, split and check, and the first ids."""
    return [
        (f"{name}: {finding.check}", first_ids(finding.ids))
        for name, findings in found.items()
        for finding in findings
        if finding.ids
    ]


def share(part: int, whole: int) -> str:
    """A count with its share of a whole: ``3 (33.3 %)``."""
    return f"{part:,} ({100 * part / whole:.1f}\N{NO-BREAK SPACE}%)" if part else "0"


def _figures(split: Inspection) -> dict[str, dict[str, str]]:
    """The cells of one split's column, by group and by row."""
    golds, reach = sum(split.alignment.values()), split.reach
    repairs = [kind for kind in KINDS if kind not in ("exact", "no_offset", "not_found")]
    return {
        "Questions": {
            "questions": f"{split.questions:,}",
            "distinct contexts": f"{split.contexts:,}",
            "unanswerable": share(split.unanswerable, split.questions),
            "cut at max_question_length": share(split.questions_cut, split.questions),
            **{f"dropped: {reason}": f"{count:,}" for reason, count in split.dropped.items()},
        },
        "Gold answers": {
            "golds": f"{golds:,}",
            "golds of an answerable question, mean": f"{split.golds_per_question:.2f}",
            "golds of a question, max": f"{split.most_golds:,}",
            "exact": share(split.alignment["exact"], golds),
            "found: without an offset": share(split.alignment["no_offset"], golds),
            **{f"repaired: {kind}": share(split.alignment[kind], golds) for kind in repairs},
            "not found": share(split.alignment["not_found"], golds),
        },
        "Windows": {
            "windows": f"{split.windows:,}",
            "windows of a question, mean": f"{split.windows / split.questions:.2f}",
            "windows of a question, max": f"{split.most_windows:,}",
            "questions of several windows": share(split.questions_of_several_windows, split.questions),
            "added: for answers across the border of two": f"{split.windows_added:,}",
            "dropped: windows without an answer": share(split.windows_dropped, split.windows),
        },
        "Within reach": {
            "golds that no window holds whole": share(split.never_whole, split.located),
            "golds above max_answer_length": share(split.too_long, split.located),
            "scored by the rule of": split.rule if split.rule in (SQUAD_V1, SQUAD_V2) else f"MLQA, {split.rule}",
            "EM of the golds' own tokens": f"{reach.exact_of_golds:.2f}",
            "F1 of the golds' own tokens": f"{reach.f1_of_golds:.2f}",
            "EM, upper bound": f"{reach.exact_at_most:.2f}",
            "F1, upper bound": f"{reach.f1_at_most:.2f}",
        },
    }


def lengths(found: dict[str, Inspection]) -> Table:
    """A row for each split under each thing that is measured."""

    def row(name: str, measured: Lengths | None) -> list[str]:
        cells = ["–"] * 6 if measured is None else [f"{x:,.1f}" if isinstance(x, float) else f"{x:,}" for x in measured]
        return [name, *cells]

    measured = next(iter(found.values())).lengths
    return Table(
        "Lengths",
        ["", "min", "median", "mean", "90 %", "99 %", "max"],
        [
            (f"{what}, in {unit}", [row(name, split.lengths[what, unit]) for name, split in found.items()])
            for what, unit in measured
        ],
    )


def token_rows(window: WindowView, *, whole: bool) -> list[tuple[str, ...]]:
    """A row for each token of a window; where not ``whole``, long runs of them are left out.

    Characters are counted in the question or in the context, their end exclusive.
    """
    rows: list[tuple[str, ...]] = []
    for run in [[token] for token in window.tokens] if whole else shortened(window.tokens):
        token = run[0]
        if len(run) > 1:
            rows.append(("…", f"{len(run):,} more", "", "", token.part, ""))
        else:
            characters = "" if token.start is None else f"{token.start:,}–{token.end:,}"
            rows.append((str(token.position), token.token, token.text, characters, token.part, token.label))
    return rows


def window_title(window: WindowView) -> str:
    """Which window it is."""
    return f"Window {window.number} of {window.of} · {window.id}"
