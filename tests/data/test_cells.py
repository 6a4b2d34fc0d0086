"""Values as Python, NumPy and pandas print them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qa_lightning.data.cells import parse_printed


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("['a', \"b's\"]", ["a", "b's"]),
        # NumPy puts spaces between; in Python this would be one text.
        ("['a' 'b']", ["a", "b"]),
        ("['a'\n 'b']", ["a", "b"]),
        ("[3 5]", [3, 5]),
        ("[ 3. -5.]", [3.0, -5.0]),
        ("{'text': array(['a'], dtype=object), 'at': array([3], dtype=int32)}", {"text": ["a"], "at": [3]}),
        ("array(['a', 'b'],\n      dtype='<U1')", ["a", "b"]),
        ("[np.str_('a'), np.int64(4), numpy.float64(1.5)]", ["a", 4, 1.5]),
        ("[None, nan, True, null]", [None, None, True, None]),
        ("('a', (1,))", ["a", [1]]),
        ("{}", {}),
        (r"['it\'s\n\xe9\u0939\U0001f422 \\']", ["it's\né\u0939\U0001f422 \\"]),
        (" [] ", []),
    ],
)
def test_printed_values(cell: str, value: Any) -> None:
    assert parse_printed(cell) == value


@pytest.mark.parametrize(
    "cell",
    [
        "",
        "[a]",
        "[1",
        "]",
        "[1]x",
        "{'a'}",
        "{'a' 1}",
        "{1: 2}",
        "{'a': 1 'b': 2}",
        "array([1], 2)",
        "array([1], dtype=3)",
        "eval('1')",
        "__import__('os').system('x')",
        "().__class__",
        "[1 + 1]",
        "['a\nb']",
        r"['\d']",
        r"['\N{DIGIT ONE}']",
        "['a', ... 'b']",
        "[" + "9" * 5000 + "]",
    ],
)
def test_what_is_no_printed_value(cell: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_printed(cell)


values = st.recursive(
    st.text() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.none() | st.booleans(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(values)
def test_what_python_prints_is_read_back(value: Any) -> None:
    assert parse_printed(repr(value)) == value


@given(st.lists(st.text(min_size=1), max_size=20).filter(lambda texts: not any("\0" in text for text in texts)))
def test_what_numpy_prints_is_read_back(texts: list[str]) -> None:
    array = np.array(texts, dtype=object)
    assert parse_printed(str(array)) == texts
    assert parse_printed(repr(array)) == texts
