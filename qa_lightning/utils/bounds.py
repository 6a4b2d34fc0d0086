"""Checks the numbers that a user sets."""

from __future__ import annotations

from qa_lightning.utils.errors import UserError

MOST_ANSWERS = 10_000
"""Answers to one question, beyond which a number is a mistake that takes all memory."""

MOST_WINDOWS = 1_000_000
"""Windows of a batch, or tokens of one, beyond which a number is a mistake."""


def check_between(name: str, value: float, least: float, most: float = float("inf")) -> None:
    """Refuses a number that is not between two others, NaN and infinity among them.

    Args:
        name: The setting's name.
        value: What it was set to.
        least: The least that it may be.
        most: The most that it may be.

    Raises:
        UserError: Names the setting and its limits.
    """
    if not least <= value <= most:
        if value < least:
            raise UserError(f"{name} must be at least {least}, not {value}")
        raise UserError(f"{name} must be at most {most:,}, not {value}" if value > most else f"{name} is not a number")
    if value == float("inf"):
        raise UserError(f"{name} must be finite, not {value}")
