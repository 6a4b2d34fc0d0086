"""What the records promise beyond holding values."""

from __future__ import annotations

import pickle

import pytest
import torch

from qa_lightning.records import Answer, Answers, Batch, Question


def batch(**changes: object) -> Batch:
    values: dict = {
        "inputs": {"input_ids": torch.arange(6).view(2, 3), "attention_mask": torch.ones(2, 3, dtype=torch.int64)},
        "question_mask": torch.ones(2, 3, dtype=torch.bool),
        "context_mask": torch.zeros(2, 3, dtype=torch.bool),
        "null_position": torch.zeros(2, dtype=torch.int64),
        "starts": torch.tensor([[1], [-1]]),
        "ends": torch.tensor([[2], [-1]]),
        "ids": ["a", "b"],
    }
    return Batch(**values | changes)


def test_the_score_of_an_answer_is_the_sum_of_its_logits() -> None:
    assert Answer("x", 0, 1, start_logit=1.5, end_logit=-4.0, probability=0.5).score == -2.5


CONTEXT = "Ada met Bob."
SOME = [Answer("Bob", 8, 11, 2.5, 1.0, 0.7), Answer("", 0, 0, 1.0, 1.0, 0.2), Answer("Ada", 0, 3, -1.0, 0.5, 0.1)]


def test_answers_are_gone_through_as_a_tuple_is() -> None:
    answers = Answers.of(CONTEXT, SOME)
    assert (len(answers), list(answers), list(reversed(answers))) == (3, SOME, SOME[::-1])
    assert (answers[0], answers[-1]) == (SOME[0], SOME[2])
    assert list(answers[1:]) == SOME[1:]
    assert SOME[2] in answers
    assert not Answers.of(CONTEXT, [])
    with pytest.raises(IndexError):
        answers[3]


def test_answers_give_plain_numbers() -> None:
    for answer in Answers.of(CONTEXT, SOME):
        numbers = (answer.start, answer.end, answer.start_logit, answer.end_logit, answer.probability)
        assert [type(number) for number in numbers] == [int, int, float, float, float]


def test_answers_equal_the_same_answers() -> None:
    answers = Answers.of(CONTEXT, SOME)
    assert answers == Answers.of(CONTEXT, SOME)
    assert answers != answers[:2]
    assert answers != Answers.of("Eve met Bob.", SOME)
    assert answers != SOME
    assert pickle.loads(pickle.dumps(answers)) == answers
    assert repr(answers[2:]) == f"Answers([{SOME[2]}])"


def test_the_best_span_and_null_are_found_among_answers() -> None:
    answers = Answers.of(CONTEXT, SOME)
    assert (answers.span, answers.null) == (SOME[0], SOME[1])
    assert (answers[1:].span, answers[2:].null) == (SOME[2], None)
    assert answers[1:2].span is None


def test_what_is_kept_of_an_answer_is_its_numbers() -> None:
    answers = Answers.of(CONTEXT * 1000, SOME)
    assert answers.rows.nbytes == 24 * len(SOME)
    assert answers[0].text == "Bob"


def test_the_length_of_a_batch_is_its_windows() -> None:
    assert len(batch()) == 2


def test_moving_a_batch_moves_every_tensor_and_keeps_the_rest() -> None:
    question = Question(0, "a", "q", "c", None, 1)
    offsets = torch.zeros(2, 3, 2, dtype=torch.int64)
    moved = batch(name="vi", questions=[question, question], offsets=offsets).to("meta")
    tensors = [*moved.inputs.values(), moved.question_mask, moved.context_mask, moved.null_position]
    tensors += [moved.starts, moved.ends, moved.offsets]
    assert all(tensor is not None and tensor.device.type == "meta" for tensor in tensors)
    assert moved.ids == ["a", "b"]
    assert moved.name == "vi"
    assert moved.questions is not None
    assert moved.questions[0] is question


def test_a_training_batch_moves_without_its_evaluation_fields() -> None:
    original = batch()
    moved = original.to("cpu", non_blocking=True)
    assert moved.offsets is None
    assert moved.questions is None
    assert moved is not original
    assert torch.equal(moved.inputs["input_ids"], original.inputs["input_ids"])


def test_pinning_pins_every_tensor(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: seen.append(tensor) or tensor)
    pinned = batch().pin_memory()
    assert len(seen) == 7
    assert pinned.ids == ["a", "b"]
