"""Values as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from qa_lightning.utils.plain import plain, plain_items


@dataclass
class Point:
    x: int
    file: Path


class Kind(StrEnum):
    LINEAR = "linear"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Path("a") / "b", "a/b"),
        (np.float64(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (torch.tensor(2), 2),
        (Kind.LINEAR, "linear"),
        ((1, Path("a")), [1, "a"]),
        ({"a": [Path("b"), None]}, {"a": ["b", None]}),
        (Point(1, Path("a")), {"x": 1, "file": "a"}),
    ],
)
def test_values_of_libraries_become_plain(value: Any, expected: Any) -> None:
    found = plain(value)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize("value", [object(), [print], {"a": torch.ones(2)}, {(1, 2): 3}, Point])
def test_what_has_no_plain_form_is_left_out(value: Any) -> None:
    with pytest.raises(TypeError):
        plain(value)
    assert plain_items({"a": 1, "b": value}) == {"a": 1}
