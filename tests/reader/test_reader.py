"""A Reader on logits that are given by hand: what it returns, and each fault of the former pipeline, which it lacks."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import qa_lightning
from qa_lightning import Reader, pipeline
from qa_lightning.reader.inputs import BLOCK
from qa_lightning.utils.errors import UserError
from tests.data.tokenizers import build, word_level
from tests.reader.stand_ins import FixedLogits, make_reader
from tests.tiny import tiny_folder

WORDS = "who where sang wrote Mara Ivo Oslo Lund in and . , ?".split()
TOKENIZER = word_level(WORDS)
MARA = {"Mara": (6.0, 6.0), "Ivo": (4.0, 4.0), "Oslo": (3.0, 3.0)}
CONTEXT = "Mara sang in Oslo and Ivo wrote in Lund ."


def softmax(*scores: float) -> list[float]:
    weights = [math.exp(score) for score in scores]
    return [weight / sum(weights) for weight in weights]


def test_one_question_has_one_answer() -> None:
    answer = make_reader(TOKENIZER, MARA, max_answer_len=1)(question="who sang ?", context=CONTEXT)
    # Ten words, each an answer of one token: three of them have logits other than zero.
    share = softmax(12, 8, 6, *[0] * 7)
    assert answer == {"score": pytest.approx(share[0]), "start": 0, "end": 4, "answer": "Mara"}
    assert type(answer["score"]) is float
    assert type(answer["start"]) is int


def test_top_k_lists_the_best_first_and_changes_no_score() -> None:
    reader = make_reader(TOKENIZER, MARA, max_answer_len=1)
    three = reader(question="who sang ?", context=CONTEXT, top_k=3)
    share = softmax(12, 8, 6, *[0] * 7)
    assert three == [
        {"score": pytest.approx(share[0]), "start": 0, "end": 4, "answer": "Mara"},
        {"score": pytest.approx(share[1]), "start": 22, "end": 25, "answer": "Ivo"},
        {"score": pytest.approx(share[2]), "start": 13, "end": 17, "answer": "Oslo"},
    ]
    assert reader(question="who sang ?", context=CONTEXT) == three[0]
    two = reader(question="who sang ?", context=CONTEXT, top_k=5, n_best_size=2)
    assert [answer["score"] for answer in two[:3]] == pytest.approx(
        [probability / sum(share[:2]) for probability in share[:3]]
    )
    assert len(two) == 5


def test_forms_of_questions() -> None:
    reader = make_reader(TOKENIZER, MARA)
    other = "Ivo wrote in Oslo ."
    mara, ivo = (reader(question="who sang ?", context=context) for context in (CONTEXT, other))
    assert (mara["answer"], ivo["answer"]) == ("Mara", "Ivo")
    records = [{"question": "who sang ?", "context": context} for context in (CONTEXT, other)]
    assert reader(records[0]) == mara
    assert reader(records[:1]) == [mara]
    assert reader(records) == reader(tuple(records)) == [mara, ivo]
    assert reader(question=["who sang ?", "who ?"], context=CONTEXT) == [mara, mara]
    assert reader(question=["who sang ?", "who ?"], context=[CONTEXT, other]) == [mara, ivo]
    assert reader(question="who sang ?", context=[CONTEXT, other]) == [mara, ivo]
    assert reader([]) == []
    assert reader([{**records[0], "id": "x"}], top_k=2) == [reader(records[0], top_k=2)]


def test_a_data_set_and_any_iterable_are_streamed() -> None:
    from datasets import Dataset

    reader = make_reader(TOKENIZER, MARA)
    records = [{"question": "who ?", "context": CONTEXT}, {"question": "who ?", "context": "Ivo sang ."}] * 3
    expected = reader(records)
    assert list(reader(Dataset.from_list(records))) == expected
    read = 0

    def endless() -> Iterator[dict[str, str]]:
        nonlocal read
        while True:
            read += 1
            yield records[read % 2]

    answers = reader(endless())
    assert read == 0
    assert next(answers) == expected[1]
    assert read == BLOCK
    for _ in range(BLOCK):
        answer = next(answers)
    assert answer == expected[1]
    assert read == 2 * BLOCK


def test_answers_come_back_in_the_order_asked_whatever_their_length() -> None:
    names = ["Mara", "Ivo", "Oslo", "Lund"]
    contexts = [f"{'and ' * (37 * i % 50)}{names[i % 4]} sang ." for i in range(60)]
    reader = make_reader(TOKENIZER, dict.fromkeys(names, (5.0, 5.0)), tokens_per_batch=100)
    answers = reader(question="who sang ?", context=contexts)
    assert [answer["answer"] for answer in answers] == [names[i % 4] for i in range(60)]
    assert all(
        context[answer["start"] : answer["end"]] == answer["answer"]
        for answer, context in zip(answers, contexts, strict=True)
    )
    model: Any = reader.runner
    assert len(model.batches) > 10


def test_long_contexts_go_through_windows() -> None:
    context = f"{'and ' * 500}Mara {'in ' * 500}"
    answer = make_reader(TOKENIZER, MARA)(question="who sang ?", context=context)
    assert (answer["start"], answer["answer"]) == (2000, "Mara")


def test_settings_of_a_reader_and_of_a_call() -> None:
    reader = make_reader(TOKENIZER, {"Mara": (5.0, 0.0), "Oslo": (0.0, 5.0)}, max_answer_len=2)
    assert reader(question="who ?", context=CONTEXT)["answer"] != "Mara sang in Oslo"
    assert reader(question="who ?", context=CONTEXT, max_answer_len=4)["answer"] == "Mara sang in Oslo"


def test_no_answer_is_listed_twice() -> None:
    """It gave the empty answer twice, and a text once a window before it summed their scores."""
    context = "Mara sang . mara sang . Mara wrote ."
    tokenizer = word_level([*WORDS, "mara"])
    reader = make_reader(tokenizer, {"Mara": (6.0, 6.0), "mara": (5.0, 5.0)}, max_answer_len=1)
    answers = reader(question="who ?", context=context, top_k=3)
    assert [answer["answer"].lower() for answer in answers] == ["mara", "sang", "."]
    assert answers[0]["start"] == 0
    asked: dict[str, Any] = {"question": "who ?", "context": "Oslo", "handle_impossible_answer": True, "top_k": 3}
    oslo = make_reader(tokenizer, {"Oslo": (1.0, 1.0)})
    assert [answer["answer"] for answer in oslo(**asked, legacy=True)] == ["Oslo", "", ""]
    assert [answer["answer"] for answer in oslo(**asked)] == ["Oslo", ""]


def test_no_score_is_above_one() -> None:
    """It summed the scores of equal texts, of which each window's had a sum of their own."""
    reader = make_reader(TOKENIZER, {"Mara": (30.0, 30.0)}, max_seq_len=24, max_question_len=4, doc_stride=4)
    asked = {"question": "who ?", "context": f"Mara {'and ' * 40}Mara {'in ' * 40}Mara ."}
    assert reader(asked, legacy=True)["score"] == pytest.approx(3)
    listed = reader(asked, top_k=10)
    assert 0.3 < listed[0]["score"] <= 1
    assert sum(answer["score"] for answer in listed) <= 1


def test_no_answer_is_empty_where_none_is_allowed() -> None:
    reader = make_reader(TOKENIZER, {"[CLS]": (9.0, 9.0), "Oslo": (1.0, 1.0)})
    asked: dict[str, Any] = {"question": "where ?", "context": "Oslo", "top_k": 5}
    assert [answer["answer"] for answer in reader(**asked, legacy=True)] == ["Oslo", ""]
    assert [answer["answer"] for answer in reader(**asked)] == ["Oslo"]
    assert reader(**asked, handle_impossible_answer=True)[0]["answer"] == ""


def test_where_nothing_can_be_an_answer_it_is_empty() -> None:
    tokenizer = build_with_dropped_characters()
    reader = make_reader(tokenizer, {})
    assert reader(question=["who", "who"], context=["Mara", "\u0301"]) == [
        {"score": 1.0, "start": 0, "end": 4, "answer": "Mara"},
        {"score": 0.0, "start": 0, "end": 0, "answer": ""},
    ]


def build_with_dropped_characters() -> Any:
    from tokenizers import normalizers

    tokenizer = word_level(WORDS)
    tokenizer.backend_tokenizer.normalizer = normalizers.StripAccents()
    return tokenizer


def test_there_are_top_k_answers_where_there_are_so_many() -> None:
    """It looked at a few spans of each window, and dropped some of these."""
    context = " ".join(["Mara sang ."] * 60) + " in Oslo and Ivo wrote in Lund ?"
    reader = make_reader(TOKENIZER, {"Mara": (9.0, 9.0), "sang": (6.0, 6.0)}, max_answer_len=1)
    every = reader(question="who ?", context=context, top_k=50)
    assert [answer["answer"] for answer in every[:2]] == ["Mara", "sang"]
    assert sorted(answer["answer"] for answer in every) == sorted(set(context.split()))
    assert len(reader(question="who ?", context=context, top_k=5, legacy=True)) < 5


@pytest.mark.parametrize("legal", [1, 7])
def test_what_stands_behind_many_repetitions_is_found(legal: int) -> None:
    context = f"{'in ' * 3000}Oslo {'and ' * 3000}"
    reader = make_reader(TOKENIZER, {"in": (5.0, 5.0)}, max_answer_len=legal, max_seq_len=100, doc_stride=10)
    found = reader(question="who ?", context=context, top_k=20)
    texts = {" ".join(["in"] * n) for n in range(1, legal + 1)}
    assert {answer["answer"] for answer in found[:legal]} == texts
    assert len(found) == (3 if legal == 1 else 20)
    assert len({answer["answer"].lower() for answer in found}) == len(found)
    assert [answer["score"] for answer in found] == sorted((answer["score"] for answer in found), reverse=True)
    assert "Oslo" in {word for answer in found for word in answer["answer"].split()}


def test_more_answers_than_are_kept_are_on_the_scale_of_those() -> None:
    context = "in in in Mara and in in Oslo ."
    logits = {"in": (5.0, 5.0), "Mara": (4.0, 4.0), "Oslo": (3.0, 3.0), "[CLS]": (3.5, 3.5)}
    settings: dict[str, Any] = {"max_answer_len": 1, "n_best_size": 2, "top_k": 9, "handle_impossible_answer": True}
    found = make_reader(TOKENIZER, logits, **settings)(question="who ?", context=context)
    assert [answer["answer"] for answer in found] == ["in", "Mara", "", "Oslo", "and", "."]
    kept = math.exp(10) + math.exp(10) + math.exp(7)
    shares = [math.exp(score) / kept for score in (10, 8, 7, 6, 0, 0)]
    assert [answer["score"] for answer in found] == pytest.approx(shares)


def test_a_text_without_tokens_alone_and_in_company() -> None:
    reader = make_reader(build_with_dropped_characters(), {}, handle_impossible_answer=True)
    nothing = {"question": "who", "context": "\u0301"}
    null = {"score": 1.0, "start": 0, "end": 0, "answer": ""}
    assert reader(nothing) == null
    assert reader([nothing, {"question": "who", "context": "Mara"}])[0] == null
    assert reader({"question": "\u0301", "context": "Mara"})["answer"] in ("", "Mara")


def test_columns_of_a_data_set_and_numbers_of_numpy() -> None:
    from datasets import Dataset

    reader = make_reader(TOKENIZER, MARA)
    data = Dataset.from_dict({"question": ["who ?", "who sang ?"], "context": [CONTEXT, "Ivo sang ."]})
    expected = reader(data.to_list(), top_k=2)
    assert reader(question=data["question"], context=data["context"], top_k=np.int64(2)) == expected
    assert reader(question=np.array(data["question"][:]), context=np.array(data["context"][:]), top_k=2) == expected


def test_what_a_source_gave_before_it_failed_is_answered() -> None:
    def failing() -> Iterator[dict[str, str]]:
        yield {"question": "who ?", "context": CONTEXT}
        raise OSError("gone")

    answers = make_reader(TOKENIZER, MARA)(failing())
    assert next(answers)["answer"] == "Mara"
    with pytest.raises(OSError, match="gone"):
        next(answers)


def test_logits_that_are_no_numbers_are_reported() -> None:
    with pytest.raises(UserError, match=r"the model returned NaN"):
        make_reader(TOKENIZER, {"sang": (math.nan, 0.0)})(question="who ?", context=CONTEXT)


@pytest.mark.parametrize("family", ["bert-uncased", "xlnet", "llama", "t5"])
def test_null_is_scored_where_the_tokenizer_puts_it(family: str, shared: Path) -> None:
    """It looked at the first token, which is the context's where the classification token stands last."""
    tokenizer = build(family, shared)
    null = {"bert-uncased": "[CLS]", "xlnet": "<cls>", "llama": "<s>", "t5": "</s>"}[family]
    asked: dict[str, Any] = {"question": "Who sang?", "context": "Mara sang in Oslo.", "handle_impossible_answer": True}
    assert make_reader(tokenizer, {null: (5.0, 5.0)})(**asked)["answer"] == ""
    assert make_reader(tokenizer, {null: (-5.0, -5.0)})(**asked)["answer"] != ""
    streams = [
        make_reader(tokenizer, {null: (n, n)}).predictions(asked_of(asked), handle_impossible_answer=True)
        for n in (1, 2)
    ]
    low, high = (next(predictions).null_odds or 0.0 for predictions in streams)
    assert high - low == pytest.approx(2)


def asked_of(asked: dict[str, Any]) -> dict[str, str]:
    return {"question": asked["question"], "context": asked["context"]}


class Falling(FixedLogits):
    """Null scores the lower, the fewer tokens a window has."""

    def __call__(self, batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
        starts, ends = super().__call__(batch)
        lengths = batch.inputs["attention_mask"].sum(1)
        starts[torch.arange(len(batch)), batch.null_position] = lengths.float()
        return starts, ends


def test_null_scores_the_minimum_over_the_windows() -> None:
    settings: dict[str, Any] = {"max_seq_len": 24, "max_question_len": 4, "doc_stride": 0}
    reader = Reader(Falling(TOKENIZER, {}), TOKENIZER, handle_impossible_answer=True, **settings)
    # 24 tokens of which 5 are not the context's: a window of 19 tokens of it, and one of 6.
    (prediction,) = reader.predictions(question="who ?", context="in " * 25)
    assert prediction.null_odds == 11.0


def test_the_threshold_decides_and_what_it_decides_comes_first() -> None:
    reader = make_reader(
        TOKENIZER, {"[CLS]": (2.0, 2.0), "Mara": (1.0, 1.0)}, max_answer_len=1, handle_impossible_answer=True
    )
    asked = {"question": "who ?", "context": "Mara sang ."}
    share = softmax(4, 2, 0, 0)
    null = {"score": pytest.approx(share[0]), "start": 0, "end": 0, "answer": ""}
    mara = {"score": pytest.approx(share[1]), "start": 0, "end": 4, "answer": "Mara"}
    assert reader(asked, top_k=2) == [null, mara]
    assert reader(asked, top_k=2, null_score_diff_threshold=1.9) == [null, mara]
    assert reader(asked, top_k=2, null_score_diff_threshold=2.1) == [mara, null]
    assert reader(asked, null_score_diff_threshold=2.1) == mara


def test_a_question_that_is_too_long_is_cut_which_is_said_once() -> None:
    reader = make_reader(TOKENIZER, MARA, max_seq_len=40, max_question_len=10, doc_stride=4)
    with pytest.warns(UserWarning, match=r"^1 question cut at max_question_len \(10 tokens\); raise it") as warned:
        assert reader(question="who sang " * 1000, context=CONTEXT)["answer"] == "Mara"
    assert len(warned) == 1
    assert reader(question="who sang " * 1000, context=CONTEXT)["answer"] == "Mara"  # a warning would be an error
    asked = ["who sang " * 5, "who sang " * 6, "who " * 11]
    with pytest.warns(UserWarning, match="^2 questions cut at max_question_len"):
        make_reader(TOKENIZER, MARA, max_seq_len=40, max_question_len=10, doc_stride=4)(question=asked, context=CONTEXT)


@pytest.mark.parametrize(
    ("context", "answer"),
    [
        ("東京タワーは東京都港区にある。", "東京"),
        ("北京大学位于北京市海淀区。", "海淀"),
        ("กรุงเทพมหานครเป็นเมืองหลวงของประเทศไทย", "เมือง"),
    ],
)
def test_answers_without_white_space_around_do_not_grow_to_the_whole_context(
    context: str, answer: str, shared: Path
) -> None:
    """It widened answers to what the tokenizer splits first, for some of them a text between two white spaces."""
    tokenizer = build("xlm-roberta", shared)
    encoding = tokenizer(context, return_offsets_mapping=True, add_special_tokens=False)
    first = context.index(answer)
    inside = [
        token
        for token, (start, end) in zip(encoding["input_ids"], encoding["offset_mapping"], strict=True)
        if first <= start and end <= first + len(answer)
    ]
    reader = make_reader(tokenizer, {})
    model: Any = reader.runner
    model.table[inside] = 9.0
    assert reader(question="who?", context=context, legacy=True)["answer"] == context
    assert len(reader(question="who?", context=context)["answer"]) <= len(answer) + 1


def test_words_are_whole(shared: Path) -> None:
    tokenizer = build("bert-uncased", shared)
    context = "The Spanish didn't unfathomably pay 3.14 dollars."
    part = tokenizer.tokenize("unfathomably")[1]
    reader = make_reader(tokenizer, {part: (9.0, 9.0)})
    asked = {"question": "How?", "context": context}
    assert reader(asked)["answer"] == "unfathomably"
    assert reader(asked, align_to_words=False)["answer"] != "unfathomably"
    assert make_reader(tokenizer, {"t": (9.0, 9.0)})(asked)["answer"] == "didn't"
    assert make_reader(tokenizer, {"14": (9.0, 9.0)})(asked)["answer"] == "3.14"


def test_where_all_words_have_too_many_tokens_a_part_is_the_answer(shared: Path) -> None:
    reader = make_reader(build("bert-uncased", shared), {})
    assert len(reader(question="What?", context="x" * 60)["answer"]) in range(1, 60)


@pytest.mark.parametrize("family", ["roberta", "xlm-roberta", "albert", "llama"])
@pytest.mark.parametrize("answer", ["Denver", "Denver Broncos", "🎉 café", "(Denver"])
def test_answers_lose_and_gain_no_character(family: str, answer: str, shared: Path) -> None:
    """White space that a byte-level or a Unigram tokenizer counts in belonged to the answer, or a character did not."""
    tokenizer = build(family, shared)
    context = f"It was {answer} , they say."
    first = context.index(answer)
    encoding = tokenizer(context, return_offsets_mapping=True, add_special_tokens=False)
    covering = [
        token
        for token, (start, end) in zip(encoding["input_ids"], encoding["offset_mapping"], strict=True)
        if end > first and start < first + len(answer) and context[start:end].strip()
    ]
    reader = make_reader(tokenizer, {}, align_to_words=False)
    model: Any = reader.runner
    model.table[covering[0], 0] += 9.0
    model.table[covering[-1], 1] += 9.0
    found = reader(question="What?", context=context)
    assert found["answer"] == answer == context[found["start"] : found["end"]]


class Busy(FixedLogits):
    """Records whether it was ever asked by two threads at the same time."""

    asked = threading.Lock()
    overlapping = False

    def __call__(self, batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
        self.overlapping |= not self.asked.acquire(blocking=False)
        time.sleep(0.01)
        self.asked.release()
        return super().__call__(batch)


def test_threads_that_share_a_reader_take_turns() -> None:
    names = ["Mara", "Ivo", "Oslo", "Lund"]
    model = Busy(TOKENIZER, dict.fromkeys(names, (5.0, 5.0)))
    reader = Reader(model, TOKENIZER)
    contexts = [f"{'and ' * (i % 7)}{names[i % 4]} sang ." for i in range(40)]
    found: dict[int, str] = {}

    def ask(number: int) -> None:
        for i in range(number, 40, 4):
            found[i] = reader(question="who ?" + " ?" * i, context=contexts[i])["answer"]

    threads = [threading.Thread(target=ask, args=[number]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[i] for i in range(40)] == [names[i % 4] for i in range(40)]
    assert not model.overlapping


def test_token_probabilities() -> None:
    reader = make_reader(
        TOKENIZER, {"Mara": (math.log(2), 0.0), "sang": (0.0, math.log(3)), "[CLS]": (math.log(4), 0.0)}
    )
    found = reader.explain("who ?", "Mara sang .").tokens
    assert found.spans.tolist() == [[0, 4], [5, 9], [10, 11]]
    assert found.starts == pytest.approx([0.5, 0.25, 0.25])
    assert found.ends == pytest.approx([0.2, 0.6, 0.2])
    assert reader.explain("who ?", "Mara sang .").prediction.text == "Mara sang"
    with_null = reader.explain("who ?", "Mara sang .", handle_impossible_answer=True).tokens
    assert with_null.starts == pytest.approx([0.25, 0.125, 0.125])


def test_token_probabilities_over_windows() -> None:
    reader = make_reader(TOKENIZER, {}, max_seq_len=16, max_question_len=4, doc_stride=3)
    found = reader.explain("who ?", "in " * 50).tokens
    assert found.spans.tolist() == [[3 * i, 3 * i + 2] for i in range(50)]
    assert found.starts == pytest.approx([1 / 50] * 50)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "no questions"),
        ({"question": "who ?"}, "context is missing"),
        ({"context": CONTEXT}, "question is missing"),
        ({"question": 1, "context": CONTEXT}, "question is int, not a text or a list"),
        ({"question": "", "context": CONTEXT}, "the question: its question is empty"),
        ({"question": "who ?", "context": " \n"}, "the question: its context is empty"),
        ({"question": ["who ?", ""], "context": CONTEXT}, "question 2: its question is empty"),
        ({"question": ["who ?"] * 3, "context": [CONTEXT] * 2}, "3 questions and 2 contexts: give lists of equal"),
        ({"inputs": [{"question": "who ?"}]}, "question 1 has no 'context'; it has 'question'"),
        ({"inputs": {"k" * 1000: 1}}, "has no 'question'; it has 'kkk"),
        ({"question": "who ?", "context": CONTEXT, "null_score_diff_threshold": math.nan}, "cannot be nan"),
        ({"question": "who ?", "context": CONTEXT, "null_score_diff_threshold": -(10**400)}, "cannot be -1000"),
        ({"question": "who ?", "context": CONTEXT, "max_seq_len": 0}, "doc_stride (0) leaves no room"),
        ({"question": "who ?", "context": CONTEXT, "zzz": 0}, "unknown argument 'zzz'; there are top_k"),
        ({"inputs": ["who ?"]}, "question 1 is str, not a record"),
        ({"inputs": "who ?"}, "questions cannot be read from str"),
        ({"inputs": 3}, "questions cannot be read from int"),
        ({"inputs": [], "question": "who ?"}, "given twice"),
        ({"question": "who ?", "context": "\ud800"}, "half a surrogate pair"),
        ({"question": "who ?", "context": CONTEXT, "top_k": 0}, "top_k must be at least 1, not 0"),
        ({"question": "who ?", "context": CONTEXT, "top_k": "3"}, "top_k cannot be '3'"),
        ({"question": "who ?", "context": CONTEXT, "topk": 3}, "unknown argument 'topk'; did you mean 'top_k'"),
        ({"question": "who ?", "context": CONTEXT, "legacy": 1}, "legacy cannot be 1"),
        ({"question": "who ?", "context": CONTEXT, "max_answer_len": 0}, "max_answer_len must be at least 1"),
        ({"question": "who ?", "context": CONTEXT, "max_question_len": 0}, "max_question_len must be at least 1"),
        (
            {"question": "who ?", "context": CONTEXT, "max_seq_len": 100, "doc_stride": 50},
            "doc_stride (50) leaves no room for the context to move on: max_seq_len (100) − max_question_len (64)",
        ),
        ({"question": "who ?", "context": CONTEXT, "doc_stride": -1}, "doc_stride must be at least 0"),
    ],
)
def test_bad_input(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        make_reader(TOKENIZER, MARA)(**arguments)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def test_null_needs_a_token(shared: Path) -> None:
    reader = make_reader(build("qwen", shared), {})
    with pytest.raises(UserError, match="adds no special token at which 'no answer' could be scored"):
        reader(question="Who?", context="Mara sang.", handle_impossible_answer=True)


def test_bad_readers(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="tokens_per_batch must be at least 1"):
        make_reader(TOKENIZER, {}, tokens_per_batch=0)
    model = FixedLogits(TOKENIZER, {})
    model.longest = 64
    with pytest.raises(UserError, match=r"max_seq_len \(100\) is beyond the model's 64 positions"):
        Reader(model, TOKENIZER, max_seq_len=100, max_question_len=8)
    headless = tiny_folder(tmp_path / "headless", head=False)
    with pytest.raises(UserError, match="no question-answering head; train it first"):
        Reader.from_pretrained(headless, max_question_len=8)
    with pytest.raises(UserError, match=r"no such (model|tokenizer) folder"):
        Reader.from_pretrained(tmp_path / "nowhere")
    tiny = tiny_folder(tmp_path / "tiny")
    for arguments, message in (
        ({"dtype": "int8"}, "dtype cannot be 'int8'"),
        ({"dtype": "float8_e4m3fn"}, "dtype cannot be 'float8_e4m3fn'"),
        ({"device": "nonsense"}, "the device 'nonsense' cannot be used"),
        ({"device": "meta"}, "the device 'meta' cannot be used"),
    ):
        with pytest.raises(UserError, match=message):
            Reader.from_pretrained(tiny, **arguments)
    for given, tokenizer in (("a name", TOKENIZER), (model, None)):
        with pytest.raises(UserError, match=r"Reader\.from_pretrained takes a name"):
            Reader(given, tokenizer)
    (tiny / "qa_lightning.json").write_text('{"foo": 1}')
    with pytest.raises(UserError, match=r"qa_lightning.json is missing doc_stride; add it, or delete that file"):
        Reader.from_pretrained(tiny)
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.yaml").touch()
    with pytest.raises(UserError, match="a run without a best_model; name a checkpoint of it"):
        Reader.from_pretrained(tmp_path / "run")


def test_weights_are_of_the_type_asked_for_whatever_the_folder_holds(tmp_path: Path) -> None:
    from transformers import AutoModelForQuestionAnswering

    folder = tiny_folder(tmp_path / "model")
    AutoModelForQuestionAnswering.from_pretrained(folder).to(torch.float16).save_pretrained(folder)
    for dtype, expected in ((torch.float32, torch.float32), ("bfloat16", torch.bfloat16)):
        model: Any = Reader.from_pretrained(folder, dtype=dtype, max_question_len=8).runner
        assert {parameter.dtype for parameter in model.network.parameters()} == {expected}
    asked = {"question": "Who wrote?", "context": "Ada wrote the first program in London."}
    assert Reader.from_pretrained(folder, dtype="bfloat16", max_question_len=8)(asked)["score"] <= 1


def test_the_drop_in(tmp_path: Path) -> None:
    from transformers import AutoModelForQuestionAnswering, AutoTokenizer

    folder = tiny_folder(tmp_path / "model")
    asked = {"question": "Who wrote?", "context": "Ada wrote the first program in London."}
    answer = Reader.from_pretrained(folder, max_question_len=8)(asked)
    assert set(answer) == {"score", "start", "end", "answer"}
    model, tokenizer = AutoModelForQuestionAnswering.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    for given in (
        {"model": str(folder)},
        {"model": folder, "tokenizer": folder},
        {"model": model, "tokenizer": tokenizer, "device": -1},
        {"model": model, "tokenizer": str(folder)},
    ):
        assert pipeline("question-answering", **given, max_question_len=8)(**asked) == answer
    assert pipeline("question-answering", str(folder), top_k=2, max_question_len=8)(asked)[0] == answer
    for arguments, message in (
        (["summarization"], "there is no pipeline for 'summarization' here"),
        (["question-answering"], "no model: name one"),
        (["question-answering", model], "no tokenizer"),
        (["question-answering", str(folder), None, tokenizer], "give names, or both loaded"),
    ):
        with pytest.raises(UserError, match=message):
            pipeline(*arguments)


def test_nothing_else_is_in_the_package() -> None:
    modules, callbacks = {"QADataModule", "QALightningModule", "SyntheticCorpus"}, {"Results", "RunCheckpoint"}
    assert set(qa_lightning.__all__) == modules | callbacks | {"Reader", "UserError", "pipeline", "__version__"}
    with pytest.raises(AttributeError, match="has no attribute 'Trainer'"):
        qa_lightning.Trainer  # noqa: B018
