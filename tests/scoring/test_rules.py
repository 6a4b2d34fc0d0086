import pickle

import pytest

from qa_lightning.scoring import squad
from qa_lightning.scoring.rules import SQUAD_V1, SQUAD_V2, rule_name, scorer


def test_squads_rule_is_that_of_its_version() -> None:
    assert (rule_name(None), rule_name(None, null_allowed=False)) == (SQUAD_V2, SQUAD_V1)
    assert scorer(SQUAD_V2) is squad.score_question
    assert scorer(SQUAD_V1) is squad.score_question_v1


@pytest.mark.parametrize("null_allowed", [True, False])
def test_a_language_has_mlqas_rule_in_any_case(null_allowed: bool) -> None:
    german = scorer(rule_name("DE", null_allowed=null_allowed))
    assert german("das Haus", ["Haus"]) == (1.0, 1.0)
    assert scorer(rule_name("en"))("“x”", ["x"]) != scorer(rule_name(None))("“x”", ["x"])


def test_a_language_without_a_rule_has_the_plain_one() -> None:
    assert scorer(rule_name("fr"))("la maison «x»", ["La maison, x"]) == (1.0, 1.0)
    assert scorer(rule_name("fr"))("the x", ["x"])[0] == 0.0


@pytest.mark.parametrize("rule", [SQUAD_V1, SQUAD_V2, "vi"])
def test_a_rule_can_be_sent_to_another_process(rule: str) -> None:
    assert pickle.loads(pickle.dumps(scorer(rule)))("x", ["x"]) == (1.0, 1.0)
