"""The benchmark of many documents: it gives figures, and both sides read the same."""

from __future__ import annotations

import math

from benchmarks.documents import Plan, measure
from benchmarks.models import TINY


def test_documents_are_measured_beside_a_loop() -> None:
    rows = list(measure(Plan(TINY, paragraphs=30, questions=2, repeats=1)))
    assert [row.benchmark for row in rows] == ["documents"] * 2
    for row in rows:
        assert all(math.isfinite(value or 0.0) and (value or 0.0) > 0 for value in (row.figure, row.peer, row.ratio))
    assert "2 asked, a tiny BERT" in rows[0].note
