import pickle

import pytest

from qa_lightning.scoring import squad
from qa_lightning.scoring.rules import SQUAD_V1, SQUAD_V2, rule_of, scorer


def test_squads_rule_is_that_of_its_version() -> None:
    assert (rule_of(None), rule_of(None, null_allowed=False)) == (SQUAD_V2, SQUAD_V1)
    assert scorer(SQUAD_V2) is squad.score_question
    assert scorer(SQUAD_V1) is squad.score_question_v1


@pytest.mark.parametrize("null_allowed", [True, False])
def test_a_language_has_mlqas_rule_in_any_case(null_allowed: bool) -> None:
    german = scorer(rule_of("DE", null_allowed=null_allowed))
    assert german("das Haus", ["Haus"]) == (1.0, 1.0)
    assert scorer(rule_of("en"))("“x”", ["x"]) != scorer(rule_of(None))("“x”", ["x"])


def test_a_language_without_a_rule_has_the_plain_one() -> None:
    assert scorer(rule_of("fr"))("la maison «x»", ["La maison, x"]) == (1.0, 1.0)
    assert scorer(rule_of("fr"))("the x", ["x"])[0] == 0.0


@pytest.mark.parametrize("rule", [SQUAD_V1, SQUAD_V2, "vi"])
def test_a_rule_can_be_sent_to_another_process(rule: str) -> None:
    assert pickle.loads(pickle.dumps(scorer(rule)))("x", ["x"]) == (1.0, 1.0)
