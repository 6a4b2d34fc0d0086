"""Chooses the official script whose rule answers are scored by."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from qa_lightning.scoring import mlqa, squad

SQUAD_V1 = "SQuAD 1.1"
SQUAD_V2 = "SQuAD 2.0"


def rule_name(language: str | None, *, null_allowed: bool = True) -> str:
    """The name of the rule for a language.

    Args:
        language: A code in any case; MLQA's rule of this language, or the plain one where MLQA has none. None: the
            rule of SQuAD, which is not MLQA's for ``en``.
        null_allowed: Whether a question may be left unanswered: SQuAD 2.0; if not: SQuAD 1.1.
    """
    if language is not None:
        return language.lower()
    return SQUAD_V2 if null_allowed else SQUAD_V1


def scorer(rule: str) -> squad.Scorer:
    """Returns the function that scores by a rule.

    Args:
        rule: What `rule_name` returned.
    """
    if rule == SQUAD_V1:
        return squad.score_question_v1
    if rule == SQUAD_V2:
        return squad.score_question
    return partial(mlqa.score_question, language=rule)


def normalizer(rule: str) -> Callable[[str], str]:
    """Returns the function that normalises texts before they are compared; it separates words by one space.

    Args:
        rule: What `rule_name` returned.
    """
    return squad.normalize if rule in (SQUAD_V1, SQUAD_V2) else partial(mlqa.normalize, language=rule)
