"""A suite of evaluation sets: where each comes from, and by which rule it is scored."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from qa_lightning.scoring.mlqa import check_language
from qa_lightning.scoring.rules import rule_name
from qa_lightning.utils.errors import UserError

RULES = ("squad_v1", "squad_v2", "mlqa")
"""What a set's ``rule`` may be: the script for SQuAD 1.1, that for SQuAD 2.0, or MLQA's for the set's language."""

EVERY_SET = "*"
"""Stands for all sets of a suite in the list of those that are averaged."""

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_RESERVED_SUFFIXES = (".json", ".parquet", ".html", ".md", ".tex")
_LONGEST_NAME = 100


@dataclass(frozen=True)
class EvaluationSet:
    """Questions with golds that are scored together.

    Attributes:
        name: Its name, which is also that of its folder.
        file: File or files, in any format that training reads, within the folder that files are looked for in.
        dataset_name: A data set on the Hub; it is used unless files are asked for.
        dataset_config_name: Its configuration.
        dataset_revision: Its branch, tag or commit.
        split: Which part of it, in datasets' notation.
        column_names: Our columns by the names that they have in this set.
        encoding: The encoding of its text files; None: UTF-8.
        delimiter: What parts the columns of its CSV files; None: it is detected.
        id_prefix: Only questions are taken whose id begins so.
        language: That of contexts and answers, a code of ISO 639-1.
        question_language: That of questions, where it may be another one.
        rule: One of `RULES`; None: ``mlqa`` where there is a language, else ``squad_v2``.
        adversarial: Whether ids are those of adversarial SQuAD, ``ORIGINAL`` and ``ORIGINAL-VARIANT``, so that each
            original question also counts by the variant that is answered worst.
    """

    name: str
    file: str | tuple[str, ...] | None = None
    dataset_name: str | None = None
    dataset_config_name: str | None = None
    dataset_revision: str | None = None
    split: str = "validation"
    column_names: Mapping[str, str] = field(default_factory=dict)
    encoding: str | None = None
    delimiter: str | None = None
    id_prefix: str | None = None
    language: str | None = None
    question_language: str | None = None
    rule: str | None = None
    adversarial: bool = False

    @property
    def files(self) -> tuple[str, ...]:
        """The names of its files, as the suite has them."""
        return (self.file,) if isinstance(self.file, str) else self.file or ()

    @property
    def scoring_rule(self) -> str:
        """The rule as `qa_lightning.scoring.rules.scorer` takes it."""
        rule = self.rule or ("mlqa" if self.language else "squad_v2")
        return rule_name(self.language if rule == "mlqa" else None, null_allowed=rule != "squad_v1")

    @property
    def rule_title(self) -> str:
        """The rule as people call it."""
        rule = self.scoring_rule
        return f"MLQA ({rule})" if self.language and rule == self.language.lower() else rule


@dataclass(frozen=True)
class Suite:
    """Evaluation sets that are scored by one command.

    Attributes:
        name: Its short name, as of its file.
        title: Its name for people.
        sets: The sets, in the order in which they are shown.
        averages: The means to compute, each with the names of its sets; each set counts as much as any other.
        folder: Where its file is, beside which files are looked for; None: it is one of the package's.
    """

    name: str
    title: str
    sets: tuple[EvaluationSet, ...]
    averages: Mapping[str, tuple[str, ...]]
    folder: Path | None = None

    @property
    def is_matrix(self) -> bool:
        """Whether contexts and questions have several languages each, in their combinations."""
        pairs = {(each.language, each.question_language) for each in self.sets}
        known = all(each.language and each.question_language for each in self.sets)
        several = all(len({pair[side] for pair in pairs}) > 1 for side in (0, 1))
        return known and several and len(pairs) == len(self.sets)


def filled_in(text: str, values: Mapping[str, str | None], where: str) -> str:
    """Fills the placeholders of a text.

    Args:
        text: ``xquad.{language}.json``.
        values: The texts by the names of their placeholders; None: there is none for this set.
        where: What messages call the text.

    Raises:
        UserError: For a placeholder without a text.
    """

    def value(match: re.Match[str]) -> str:
        found = values.get(match[1])
        if found is None:
            known = ", ".join(f"{{{name}}}" for name, value in values.items() if value is not None)
            raise UserError(f"{where}: nothing is known of {match[0]!r:.80}; what can stand here is {known}")
        return found

    return _PLACEHOLDER.sub(value, text)


def check_set(each: EvaluationSet, where: str) -> None:
    """Checks what can be checked of a set before it is read.

    Args:
        each: The set.
        where: What messages call it.

    Raises:
        UserError: Where it names no data, no rule or no language that there is, or its name cannot be one.
    """
    plain = each.name.isprintable() and Path(each.name).name == each.name and not each.name.startswith(".")
    if not plain or len(each.name) > _LONGEST_NAME or each.name.endswith(_RESERVED_SUFFIXES):
        raise UserError(f"{where}: {each.name[:_LONGEST_NAME]!r} cannot be the name of a set, which is also a folder's")
    if each.rule is not None and each.rule not in RULES:
        raise UserError(f"{where}: rule cannot be {each.rule!r:.80}; it is one of {', '.join(RULES)}")
    if each.rule == "mlqa" and each.language is None:
        raise UserError(
            f"{where}: MLQA's rule is one for each language; give the set's language, such as `language: de`"
        )
    for language in (each.language, each.question_language):
        try:
            check_language(language)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
    if not each.files and each.dataset_name is None:
        raise UserError(f"{where} names no data; give it a file, or a dataset_name on the Hub")
