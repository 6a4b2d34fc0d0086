"""Text from data on a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """Text without what a terminal would obey, such as escape sequences hidden in data."""
    return "".join(character if character.isprintable() else " " for character in text)
