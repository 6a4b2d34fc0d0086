"""Refuses a model's configuration that asks for too much, before anything of it is built."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from qa_lightning.utils.errors import UserError

_MOST = {
    re.compile(r"^(num|n|encoder|decoder)_(\w+_)?(layers?|blocks?|groups?)$|^block_sizes$|^depths$"): 2_000,
    re.compile(r"^max_position_embeddings$|^n_positions$"): 20_000_000,
}
"""By how a number is called, the most that it may be: far beyond every model that there is."""

_LAYERS = re.compile(r"^num_(hidden_)?layers$|^n_layers?$")
_WIDTH = re.compile(r"hidden_size$|^d_model$|^dim$|^n_embd$|embedding_size$")
_ROWS = re.compile(r"vocab_size$|intermediate_size$|_dim$|^d_ff$|^n_inner$")
_LEAST_BYTES = 2
"""Of a parameter, at half precision."""


def check_model_size(values: Mapping[str, Any], source: str) -> None:
    """Refuses a configuration of layers without number, or of one matrix that memory cannot hold.

    Args:
        values: The configuration, as its file has it.
        source: What messages call it.

    Raises:
        UserError: Names the value.
    """
    numbers = list(_numbers(values))
    for name, number in numbers:
        if number < 0 and _LAYERS.search(name):
            raise UserError(f"{source}: {name} is {number}, which is less than none")
        for called, most in _MOST.items():
            if called.search(name) and number > most:
                raise UserError(f"{source}: {name} is {number}; no model has more than {most:,}")
    width = max((pair for pair in numbers if _WIDTH.search(pair[0])), key=_number, default=("", 0))
    rows = max((pair for pair in numbers if _ROWS.search(pair[0])), key=_number, default=width)
    there = _memory()
    if there is not None and width[1] * max(rows[1], width[1]) * _LEAST_BYTES > there:
        named = " and ".join(f"{name} = {number}" for name, number in dict.fromkeys((width, rows)))
        raise UserError(f"{source}: with {named} one matrix alone would take more than this machine's memory")


def _number(pair: tuple[str, int]) -> int:
    return pair[1]


def _numbers(values: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """The whole numbers of a configuration and of those within it, lists among them, by name."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _numbers(value)
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, int) and not isinstance(number, bool):
                yield str(name), number


def _memory() -> int | None:
    """The machine's memory in bytes, where the system says."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
