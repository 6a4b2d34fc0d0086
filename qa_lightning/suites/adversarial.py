"""The figures of adversarial SQuAD: each original question by itself, and by the variant that is answered worst.

The script is ``eval_squad.py`` of Jia and Liang, "Adversarial Examples for Evaluating Reading Comprehension Systems"
(2017). A question's id is ``ORIGINAL``, or ``ORIGINAL-VARIANT`` where a sentence was added to its context.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from qa_lightning.scoring.intervals import bootstrap_intervals
from qa_lightning.suites.scores import Interval, QuestionScores

ORIGINAL = "original"
ADVERSARIAL = "adversarial"
"""The parts: the originals as they are; and each by its worst variant, or as it is where it has none."""


@dataclass(frozen=True)
class Part:
    """Scores over some of a set's questions, 0 to 100.

    Attributes:
        name: `ORIGINAL` or `ADVERSARIAL`.
        questions: How many.
        exact_match: EM.
        f1: F1.
        exact_match_interval: The 95 % interval of EM, over contexts of the originals.
        f1_interval: That of F1.
    """

    name: str
    questions: int
    exact_match: float
    f1: float
    exact_match_interval: Interval
    f1_interval: Interval


def adversarial_parts(scores: QuestionScores) -> Iterator[Part]:
    """Computes the figures of the script, ``orig_…`` and ``adv_…``, and their intervals.

    Args:
        scores: The scores of all questions and variants. Where originals are missing, as far as they are there.
    """
    originals, worst = chosen_questions(scores)
    for name, chosen in ((ORIGINAL, originals), (ADVERSARIAL, worst)):
        if chosen:
            yield _part(name, scores, chosen, originals)


def chosen_questions(scores: QuestionScores) -> tuple[dict[str, int], dict[str, int]]:
    """Chooses questions by the id of their original.

    Returns:
        The place of each original; and that of its variant with the lowest F1, the first of several, or of the original
        where there is none.
    """
    originals: dict[str, int] = {}
    worst: dict[str, int] = {}
    for place, name in enumerate(scores.ids):
        original = name.split("-")[0]
        if name == original:
            originals[original] = place
        elif original not in worst or scores.f1[place] < scores.f1[worst[original]]:
            worst[original] = place
    return originals, originals | worst


def _part(name: str, scores: QuestionScores, chosen: dict[str, int], originals: dict[str, int]) -> Part:
    places = np.array(list(chosen.values()))
    # The variants of a question stand in contexts that differ by a sentence: the original's is what they share.
    contexts = scores.contexts[[originals.get(original, place) for original, place in chosen.items()]]
    columns = {"exact_match": scores.exact_match[places], "f1": scores.f1[places]}
    intervals = bootstrap_intervals(columns, contexts)
    exact, f1 = (math.fsum(column) / len(places) for column in columns.values())
    return Part(name, len(places), exact, f1, intervals["exact_match"], intervals["f1"])
