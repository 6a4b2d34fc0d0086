"""Prints tables of figures, which may hold texts of the data."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from qa_lightning.runs.comparison_tables import ComparisonTable
from qa_lightning.utils.terminal import plain_text


def print_table(table: ComparisonTable, console: Console | None = None) -> None:
    """Prints a table.

    Args:
        table: The table.
        console: Where to; default: the terminal.
    """
    shown = Table(*table.head, title=table.title)
    for row in table.rows:
        shown.add_row(*map(plain_text, row))
    (console or Console()).print(shown)
