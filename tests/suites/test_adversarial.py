"""Adversarial SQuAD's figures, beside the loop of its script."""

from __future__ import annotations

import random

import pytest

from qa_lightning.suites.adversarial import adversarial_parts, chosen_questions
from tests.suites.made import set_scores


def official(ids: list[str], exact: list[float], f1: list[float]) -> dict[str, tuple[float, float]]:
    """What ``evaluate_adversarial`` of ``eval_squad.py`` computes, question by question in the file's order."""
    of_originals = [0.0, 0.0]
    kept: dict[str, tuple[str, float, float]] = {}
    for name, em, score in zip(ids, exact, f1, strict=True):
        original = name.split("-")[0]
        if original == name:
            of_originals = [of_originals[0] + em, of_originals[1] + score]
            if original not in kept:
                kept[original] = (original, em, score)
        elif original not in kept or kept[original][0] == original or kept[original][2] > score:
            kept[original] = (name, em, score)
    worst = list(kept.values())
    return {
        "original": (of_originals[0] / len(kept), of_originals[1] / len(kept)),
        "adversarial": (sum(em for _, em, _ in worst) / len(kept), sum(score for _, _, score in worst) / len(kept)),
    }


def test_figures_of_the_script() -> None:
    rng = random.Random(0)
    ids = [f"q{i}" for i in range(60)]
    ids += [f"q{i}-high-conf-turk{k}" for i in range(50) for k in range(rng.randrange(1, 5))]
    rng.shuffle(ids)
    f1 = [float(rng.choice([0, 25, 50, 100])) for _ in ids]
    scores = set_scores("AddSent", f1, ids=ids, contexts=list(range(len(ids)))).questions
    wanted = official(ids, scores.exact_match.tolist(), f1)
    found = {part.name: (part.exact_match, part.f1) for part in adversarial_parts(scores)}
    assert found.keys() == wanted.keys()
    for name, both in found.items():
        assert both == pytest.approx(wanted[name], rel=0, abs=1e-9)
    assert found["adversarial"][1] < found["original"][1]


def test_the_first_of_the_worst_variants_counts_and_an_original_without_any() -> None:
    ids = ["a-x", "a", "b", "a-y", "a-z"]
    scores = set_scores("s", [50, 0, 25, 20, 20], ids=ids, contexts=[0, 1, 2, 3, 4]).questions
    assert chosen_questions(scores) == ({"a": 1, "b": 2}, {"a": 3, "b": 2})


def test_variants_count_for_the_context_of_their_original() -> None:
    # Two originals of one context: there is but one cluster to draw, and so nothing varies.
    ids = ["a", "b", "a-x", "b-x"]
    parts = adversarial_parts(set_scores("s", [100, 0, 100, 0], ids=ids, contexts=[0, 0, 1, 2]).questions)
    assert [part.f1_interval for part in parts] == [(50, 50), (50, 50)]
