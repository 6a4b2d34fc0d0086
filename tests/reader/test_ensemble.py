"""Ensembles of models whose logits are given by hand, with tokenizers of their own."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from qa_lightning import Reader
from qa_lightning.reader.ensemble import Ensemble
from qa_lightning.records import Batch
from qa_lightning.utils.errors import UserError
from tests.data.tokenizers import word_level
from tests.reader.stand_ins import FixedLogits, make_reader

CONTEXT = "Mara sang in Oslo and Ivo wrote in Lund ."
WORDS = word_level("who where sang wrote Mara Ivo Oslo Lund in and . , ?".split())
SHORT: dict[str, Any] = {"max_answer_len": 2, "n_best_size": 3}
NULL: dict[str, Any] = {"handle_impossible_answer": True}


def pieces_tokenizer() -> Any:
    """A tokenizer of the same texts that cuts "Oslo" into "Os" and "lo"."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    texts = "[PAD] [UNK] [CLS] [SEP] who sang wrote Mara Ivo Os ##lo Lund in and . ?".split()
    backend = Tokenizer(models.WordPiece({text: i for i, text in enumerate(texts)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )


def together(*readers: Reader, weights: list[float] | None = None, **settings: Any) -> Reader:
    return Reader(Ensemble(readers, weights), **settings)


def test_one_member_answers_as_it_does_alone() -> None:
    for settings in ({}, NULL, NULL | {"null_score_diff_threshold": -20.0}, SHORT):
        logits = {"Mara": (6.0, 6.0), "Ivo": (4.0, 4.0), "Oslo": (3.0, 3.0), "[CLS]": (5.0, 5.5)}
        alone = make_reader(WORDS, logits, max_seq_len=14, max_question_len=4, doc_stride=2, **settings)
        ensemble = together(alone)
        asked = {"question": "who sang ?", "context": f"{CONTEXT} {CONTEXT}"}
        (ours,), (theirs,) = list(ensemble.predictions(**asked)), list(alone.predictions(**asked))
        assert ours.text == theirs.text
        assert ours.null_odds == (None if theirs.null_odds is None else pytest.approx(theirs.null_odds))
        assert [(answer.start, answer.end) for answer in ours.answers] == [
            (answer.start, answer.end) for answer in theirs.answers
        ]
        assert ours.answers.rows["probability"] == pytest.approx(theirs.answers.rows["probability"])
        for top_k in (1, 4, 30):
            expected, found = alone(**asked, top_k=top_k), ensemble(**asked, top_k=top_k)
            for wanted, answer in zip(*([each] if top_k == 1 else each for each in (expected, found)), strict=True):
                assert wanted == answer | {"score": pytest.approx(answer["score"])}


class PairLogits(FixedLogits):
    """Gives an end another logit after each start: less, the farther it is."""

    scores_pairs = True

    def __call__(self, batch: Batch) -> tuple[Tensor, Tensor]:
        starts, ends = super().__call__(batch)
        place = torch.arange(starts.shape[1])
        return starts, ends[:, None] - 0.5 * (place[None] - place[:, None]).abs()


@pytest.mark.parametrize("align_to_words", [False, True])
def test_heads_that_score_pairs(align_to_words: bool) -> None:
    settings = NULL | {"align_to_words": align_to_words}
    model = PairLogits(WORDS, {"Mara": (6.0, 2.0), "Ivo": (4.0, 4.0), "Oslo": (3.0, 5.0), "[CLS]": (1.0, 1.0)})
    alone, pointer = Reader(model, WORDS, **settings), make_reader(WORDS, {"Ivo": (4.0, 4.0)}, **settings)
    asked = {"question": "who sang ?", "context": CONTEXT}
    (ours,), (theirs,) = list(together(alone).predictions(**asked)), list(alone.predictions(**asked))
    assert ours.text == theirs.text
    assert ours.null_odds == pytest.approx(theirs.null_odds)
    assert ours.answers.rows["probability"] == pytest.approx(theirs.answers.rows["probability"])
    assert together(alone, pointer, weights=[1, 20])(**asked)["answer"] == "Ivo"


def test_two_tokenizers_by_hand() -> None:
    """Answers of one word, which the second model cuts in two where it is "Oslo"."""
    first = make_reader(WORDS, {"Mara": (1.0, 1.0)}, max_answer_len=1, align_to_words=False)
    second = make_reader(
        pieces_tokenizer(), {"Os": (3.0, 0.0), "##lo": (0.0, 3.0)}, max_answer_len=2, align_to_words=False
    )
    # The first knows ten spans: "Mara" scores 2, the others 0. The second has eleven tokens, so 11 + 10 spans: "Oslo"
    # scores 6, "Os" and "lo" 3 each, the other 18 score 0.
    totals = [math.exp(2) + 9, math.exp(6) + 2 * math.exp(3) + 18]
    ensemble = together(first, second, weights=[0.75, 0.25])
    (prediction,) = ensemble.predictions(question="who sang ?", context=CONTEXT)
    found = {answer.text: math.exp(answer.score) for answer in prediction.answers}
    assert found["Mara"] == pytest.approx(0.75 * math.exp(2) / totals[0] + 0.25 / totals[1])
    assert found["Oslo"] == pytest.approx(0.75 / totals[0] + 0.25 * math.exp(6) / totals[1])
    assert found["lo"] == pytest.approx(0.25 * math.exp(3) / totals[1])  # the first cannot say it
    assert prediction.text == "Mara"
    assert together(first, second, weights=[1, 9])(question="who sang ?", context=CONTEXT)["answer"] == "Oslo"


def test_null_is_the_mean_too_and_the_threshold_that_of_the_members() -> None:
    first = make_reader(WORDS, {"Mara": (1.0, 1.0), "[CLS]": (2.0, 2.0)}, max_answer_len=1, **NULL)
    second = make_reader(WORDS, {"Mara": (4.0, 4.0)}, max_answer_len=1, null_score_diff_threshold=2.0, **NULL)
    ensemble = together(first, second)
    totals = [math.exp(2) + 9 + math.exp(4), math.exp(8) + 9 + 1]
    null = math.exp(4) / totals[0] + 1 / totals[1]
    mara = math.exp(2) / totals[0] + math.exp(8) / totals[1]
    (prediction,) = ensemble.predictions(question="who sang ?", context=CONTEXT)
    assert prediction.null_odds == pytest.approx(math.log(null / mara))
    assert ensemble.settings.null_score_diff_threshold == 1.0
    assert prediction.text == "Mara"
    (nothing,) = ensemble.predictions(question="who sang ?", context=CONTEXT, null_score_diff_threshold=-2.0)
    assert nothing.text == ""


def test_lengths_are_those_of_each_member_unless_others_are_asked_for() -> None:
    logits = {"sang": (5.0, 0.0), "Oslo": (0.0, 5.0)}
    short, long = (make_reader(WORDS, logits, max_answer_len=length) for length in (1, 3))
    asked = {"question": "who ?", "context": CONTEXT}
    ensemble = together(short, long)
    (prediction,) = ensemble.predictions(**asked)
    assert prediction.text == "sang in Oslo"  # the second knows it
    assert ensemble.settings.max_answer_len == 3
    passed_on = ensemble.settings.updated(vars(ensemble.settings))  # as serve does
    assert ensemble(**asked, **vars(passed_on)) == ensemble(**asked)
    for length in (1, 3):
        (every,) = ensemble.predictions(**asked, max_answer_len=length)
        (alone,) = make_reader(WORDS, logits, max_answer_len=length).predictions(**asked)
        assert every.answers.rows["probability"] == pytest.approx(alone.answers.rows["probability"])


def test_blocks_lists_and_streams() -> None:
    readers = [make_reader(WORDS, {"Mara": (5.0, 5.0)}), make_reader(pieces_tokenizer(), {"Mara": (5.0, 5.0)})]
    ensemble = together(*readers)
    questions = [{"question": "who ?", "context": f"{'and ' * i}Mara sang ."} for i in range(40)]
    expected = [4 * i for i in range(40)]
    assert [answer["start"] for answer in ensemble(questions)] == expected
    assert [answer["start"] for answer in ensemble(iter(questions))] == expected


def test_explanations_have_the_tokens_of_the_first_member() -> None:
    readers = [make_reader(WORDS, {"Mara": (5.0, 5.0)}), make_reader(pieces_tokenizer(), {"Os": (9.0, 9.0)})]
    prediction, answers, tokens = together(*readers).explain("who sang ?", CONTEXT)
    assert prediction.text == answers[0]["answer"]
    assert [CONTEXT[start:end] for start, end in tokens.spans.tolist()] == CONTEXT.split()
    assert tokens.starts.sum() == pytest.approx(1)
    assert np.argsort(tokens.starts)[-2:].tolist() in ([0, 3], [3, 0])


def test_mistakes() -> None:
    plain, with_null = make_reader(WORDS, {}), make_reader(WORDS, {}, **NULL)
    cases: list[tuple[Any, Any, str]] = [
        ([], None, "an ensemble has no member"),
        ([plain, plain], [1.0], "an ensemble of 2 models has 1 weights"),
        ([plain, plain], [0.0, 0.0], "the weights sum to 0"),
        ([plain, plain], [1.0, -1.0], "a weight cannot be -1.0"),
        ([plain, plain], [1.0, math.nan], "a weight cannot be nan"),
        ([plain, with_null], None, "members 1 and 2 of the ensemble differ in handle_impossible_answer"),
        ([plain, together(plain)], None, "member 2 of the ensemble is an ensemble itself"),
    ]
    for members, weights, message in cases:
        with pytest.raises(UserError, match=message):
            Ensemble(members, weights)
    with pytest.raises(UserError, match="knew no ensembles"):
        together(plain)(question="who ?", context=CONTEXT, legacy=True)
    with pytest.raises(UserError, match="did you mean"):
        together(plain, max_answer_length=3)
