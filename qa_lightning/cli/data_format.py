"""The flags that say how a file of questions is written: its names for the columns, its encoding, its delimiter."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from qa_lightning.data.textfiles import TextFormat


def add_data_format(parser: argparse.ArgumentParser) -> None:
    """Adds ``--column_names``, ``--encoding`` and ``--delimiter``, which go with ``--data``."""
    parser.add_argument(
        "--column_names",
        type=mapping,
        metavar="NAMES",
        help="what the data calls id, question, context, answers and answer_start, as in '{answers: answer_text}'",
    )
    parser.add_argument("--encoding", help="of the data, where it is not UTF-8")
    parser.add_argument("--delimiter", metavar="CHARACTER", help="what parts the columns of CSV data")


def text_format(options: argparse.Namespace) -> TextFormat:
    """How the text file is written, as the flags say.

    Raises:
        UserError: Where there is no such encoding, or where a delimiter cannot be one.
    """
    from qa_lightning.data.textfiles import TextFormat  # which imports pyarrow

    return TextFormat(options.encoding, options.delimiter)


def mapping(text: str) -> dict[str, str]:
    """Names and values as YAML writes them, for argparse, which names this function where there are none.

    Raises:
        ValueError: It is something else.
    """
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = None
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in (*value, *value.values())):
        raise ValueError
    return value
