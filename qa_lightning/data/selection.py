"""Slices of splits in the notation of ``datasets``, for tables of any source."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pyarrow as pa

from qa_lightning.utils.errors import UserError


class Selection:
    """A selection from one or more splits: ``train``, ``train[:5%]``, ``train[:9]+validation[10:20]``.

    Args:
        text: The notation; signs, percentages and their rounding are as `datasets.ReadInstruction` has them.

    Attributes:
        text: The notation.
        splits: The names of the splits that are needed, each once.

    Raises:
        UserError: Where the text is not in this notation.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.splits = list(dict.fromkeys(re.split(r"[\[(]", part)[0].strip() for part in text.split("+")))
        self._instruction = None
        if [text] != self.splits:  # a plain name needs no import of datasets, which takes a second
            import datasets

            try:
                self._instruction = datasets.ReadInstruction.from_spec(text)
            except (ValueError, AssertionError) as error:
                raise self._error(error) from error

    def take(self, tables: Mapping[str, pa.Table]) -> pa.Table:
        """The selected rows, in the order of the text.

        Args:
            tables: The table of each split in ``splits``.

        Raises:
            UserError: Where a percentage cannot be taken of so few rows.
        """
        if self._instruction is None:
            return tables[self.text]
        try:
            slices = self._instruction.to_absolute({name: len(table) for name, table in tables.items()})
        except ValueError as error:
            raise self._error(error) from error
        return pa.concat_tables(
            [tables[part.splitname].slice(part.from_, max(0, part.to - part.from_)) for part in slices]
        )

    def _error(self, error: Exception) -> UserError:
        return UserError(
            f"the split {self.text!r} cannot be selected: {error}; slices are written as in train[:5%] or train[10:20]"
        )
