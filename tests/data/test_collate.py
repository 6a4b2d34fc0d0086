from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tokenizers import Encoding, Regex, pre_tokenizers, processors

from qa_lightning.data.collate import WindowDataset
from qa_lightning.data.shapes import Shapes
from qa_lightning.data.sources import rows_to_examples
from qa_lightning.data.tokens import plain_backend
from qa_lightning.records import Batch
from tests.data.prepared import covered, prepare, read, rows
from tests.data.tokenizers import FAMILIES, build, characters, word_level
from tests.waits import Waits

CONTEXT_FIRST = ("bert-left", "xlnet")
LANGUAGES = ("en", "zh", "ar", "hi")
LENGTHS = ((384, 128, 64), (256, 32, 48), (160, 64, 64))
"""Several ``max_length``, ``doc_stride`` and ``max_question_length``."""


def whole(dataset: WindowDataset) -> Batch:
    return dataset[np.arange(len(dataset))]


# By hand: 2 and 3 stand around the texts, and 0 fills.

WORDS = "a b c d e f g".split()  # ids 4 to 10


def test_a_batch_by_hand() -> None:
    loaded = rows("a b c d e", ("b",), ("d e",), ("c d",), (), question=" f g")
    dataset = prepare(
        loaded,
        word_level(WORDS),
        max_length=8,
        doc_stride=1,
        max_question_length=2,
        version_2_with_negative=True,
    ).dataset
    # Room for 3 context tokens: "a b c" and "c d e" of every question.
    assert len(dataset) == 8
    assert dataset.lengths.tolist() == [8] * 8
    batch = dataset[np.array([3, 0, 4, 5, 7])]
    assert batch.inputs["input_ids"].tolist() == [
        [2, 9, 10, 3, 6, 7, 8, 3],
        [2, 9, 10, 3, 4, 5, 6, 3],
        [2, 9, 10, 3, 4, 5, 6, 3],
        [2, 9, 10, 3, 6, 7, 8, 3],
        [2, 9, 10, 3, 6, 7, 8, 3],
    ]
    assert batch.inputs["token_type_ids"].tolist() == [[0, 0, 0, 0, 1, 1, 1, 1]] * 5
    assert batch.inputs["attention_mask"].tolist() == [[1] * 8] * 5
    assert batch.question_mask.nonzero().tolist() == [[row, column] for row in range(5) for column in (1, 2)]
    assert batch.context_mask.nonzero().tolist() == [[row, column] for row in range(5) for column in (4, 5, 6)]
    # "d e" is whole in the second window; "b" in the first; "c d" is cut by the first, whole in the second.
    assert batch.starts.tolist() == [[5], [5], [0], [4], [0]]
    assert batch.ends.tolist() == [[6], [5], [0], [5], [0]]
    assert batch.null_position.tolist() == [0] * 5
    assert batch.ids == ["1", "0", "2", "2", "3"]
    assert batch.offsets is not None
    assert batch.offsets[0].tolist() == [[0, 0]] * 4 + [[4, 5], [6, 7], [8, 9], [0, 0]]
    assert batch.questions is not None
    asked = [(question.row, question.id, question.golds, question.windows) for question in batch.questions]
    assert asked[:2] == [(1, "1", ("d e",), 2), (0, "0", ("b",), 2)]
    assert {values.dtype for values in batch.inputs.values()} == {torch.int64}
    assert batch.starts.dtype == batch.ends.dtype == batch.null_position.dtype == batch.offsets.dtype == torch.int64
    assert batch.question_mask.dtype == batch.context_mask.dtype == torch.bool


@pytest.mark.parametrize("padding_side", ["right", "left"])
def test_short_windows_are_filled_up(padding_side: str) -> None:
    loaded = rows("a b c d e", ("d",), question="f")
    tokenizer = word_level(WORDS, padding_side=padding_side)
    dataset = prepare(loaded, tokenizer, max_length=8, doc_stride=2, max_question_length=2).dataset
    batch = whole(dataset)
    if padding_side == "right":
        assert batch.inputs["input_ids"].tolist() == [[2, 9, 3, 4, 5, 6, 7, 3], [2, 9, 3, 6, 7, 8, 3, 0]]
        assert batch.inputs["token_type_ids"].tolist() == [[0, 0, 0, 1, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1, 1, 0]]
        assert batch.inputs["attention_mask"][1].tolist() == [1] * 7 + [0]
        assert (batch.starts.tolist(), batch.null_position.tolist()) == ([[6], [4]], [0, 0])
    else:
        assert batch.inputs["input_ids"].tolist() == [[2, 4, 5, 6, 7, 3, 9, 3], [0, 2, 6, 7, 8, 3, 9, 3]]
        assert batch.inputs["token_type_ids"].tolist() == [[0, 0, 0, 0, 0, 0, 1, 1]] * 2
        assert batch.inputs["attention_mask"][1].tolist() == [0] + [1] * 7
        assert (batch.starts.tolist(), batch.null_position.tolist()) == ([[4], [3]], [0, 1])
    # Alone, the shorter one is not filled up.
    assert dataset[np.array([1])].inputs["input_ids"].shape == (1, 7)


@pytest.mark.parametrize("padding_side", ["right", "left"])
def test_a_batch_is_filled_up_to_its_shape(padding_side: str) -> None:
    loaded = rows("a b c d e", ("d",), ("b",), question="f")
    settings = {"max_length": 8, "doc_stride": 2, "max_question_length": 2}
    dataset = prepare(loaded, word_level(WORDS, padding_side=padding_side), **settings).dataset
    plain = dataset[np.array([1, 3])]
    dataset.shapes = Shapes(np.array([6, 10]), np.array([5, 4]))
    filled = dataset[np.array([1, 3])]
    right = padding_side == "right"
    columns = slice(None, 7) if right else slice(3, None)
    assert len(filled) == len(plain) == 2
    for name, values in filled.inputs.items():
        assert values.shape == (4, 10)
        assert values[2:].equal(values[[0, 0]])
        assert values[:2, columns].equal(plain.inputs[name])
    for name in ("question_mask", "context_mask", "offsets"):
        ours, theirs = getattr(filled, name), getattr(plain, name)
        assert ours[:, columns].equal(theirs)
        assert ours.sum() == theirs.sum()
    shift = 0 if right else 3
    for name in ("starts", "ends", "null_position"):
        assert getattr(filled, name).equal(getattr(plain, name) + shift)
    assert (filled.ids, len(filled.questions or ())) == (plain.ids, 2)
    # None is asked for: a weightless one of some shape.
    assert dataset[np.array([], dtype=np.int64)].inputs["input_ids"].shape in {(5, 6), (4, 10)}


def test_a_batch_is_gathered_without_a_wait_for_the_device() -> None:
    loaded = rows("a b c d e", ("d",), ("b", "c d"), (), question="f")
    settings = {"max_length": 8, "doc_stride": 2, "max_question_length": 2, "version_2_with_negative": True}
    for padding_side in ("right", "left"):
        dataset = prepare(loaded, word_level(WORDS, padding_side=padding_side), answers="all", **settings).dataset
        dataset.shapes = Shapes(np.array([8]), np.array([9]))
        with Waits() as waits:
            batch = whole(dataset)
        assert not waits.seen
    with waits:
        batch.starts[batch.starts >= 0].sum().item()
    assert waits.seen == ["index", "_local_scalar_dense"]


def test_training_batches_carry_no_texts() -> None:
    batch = whole(prepare(rows("a b", ("b",)), word_level(WORDS), training=True).dataset)
    assert batch.offsets is None
    assert batch.questions is None
    assert batch.context_mask.any()
    assert batch.ids == ["0"]


def test_several_golds_are_a_row_of_spans() -> None:
    loaded = rows("a b c d e", ("b", "d e", "b"), ("c",), ("a b c",), question="f")
    settings = {"max_length": 7, "doc_stride": 1, "max_question_length": 1}
    batch = whole(prepare(loaded, word_level(WORDS), answers="all", **settings).dataset)
    # Windows "a b c" and "c d e", whose tokens stand at 3, 4 and 5.
    assert batch.starts.tolist() == [[4], [4], [5], [3], [3], [0]]
    assert batch.ends.tolist() == [[4], [5], [5], [3], [5], [0]]
    dataset = prepare(loaded, word_level(WORDS), answers="all").dataset
    assert whole(dataset).starts.tolist() == [[4, 6], [5, -1], [3, -1]]
    assert whole(dataset).ends.tolist() == [[4, 7], [5, -1], [5, -1]]
    # A split's batches all have as many columns.
    assert dataset[np.array([1])].starts.tolist() == [[5, -1]]


def test_answers_that_are_not_found_have_no_label_and_are_not_trained_on() -> None:
    loaded = rows("a b c d e", ("z",), ("b",), (), question="f")
    settings = {"max_length": 7, "doc_stride": 1, "max_question_length": 1, "version_2_with_negative": True}
    evaluation = prepare(loaded, word_level(WORDS), **settings).dataset
    assert whole(evaluation).starts.tolist() == whole(evaluation).ends.tolist() == [[-1], [-1], [4], [0], [0], [0]]
    training = prepare(loaded, word_level(WORDS), training=True, **settings).dataset
    assert whole(training).ids == ["1", "1", "2", "2"]
    assert whole(training).starts.tolist() == [[4], [0], [0], [0]]


def test_impossible_windows_may_be_left_out_of_training() -> None:
    loaded = rows("a b c d e", ("b",), (), ("c d",), question="f")
    settings = {"max_length": 7, "doc_stride": 1, "max_question_length": 1, "version_2_with_negative": True}
    split = prepare(loaded, word_level(WORDS), training=True, allow_impossible_windows=False, **settings)
    # Windows of an unanswerable question stay; of the others those that hold the answer whole.
    assert whole(split.dataset).ids == ["0", "1", "1", "2"]
    assert whole(split.dataset).starts.tolist() == [[4], [0], [0], [3]]
    assert split.report["windows"] == 4
    assert split.report["windows_dropped"] == 2
    evaluation = prepare(loaded, word_level(WORDS), allow_impossible_windows=False, **settings)
    assert len(evaluation.dataset) == 6


def test_null_is_at_the_classification_token_wherever_it_stands() -> None:
    tokenizer = word_level(WORDS, padding_side="left")
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A", pair="$A [SEP] $B:1 [SEP]:1 [CLS]:2", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    loaded = rows("a b c d e", ("e",), question="f")
    batch = whole(prepare(loaded, tokenizer, max_length=8, doc_stride=2, max_question_length=2).dataset)
    assert batch.inputs["input_ids"].tolist() == [[4, 5, 6, 7, 3, 9, 3, 2], [0, 6, 7, 8, 3, 9, 3, 2]]
    assert batch.inputs["token_type_ids"].tolist() == [[0, 0, 0, 0, 0, 1, 1, 2], [0, 0, 0, 0, 0, 1, 1, 2]]
    assert batch.null_position.tolist() == [7, 7]
    assert batch.starts.tolist() == batch.ends.tolist() == [[7], [3]]


def test_without_special_tokens_null_is_nowhere() -> None:
    loaded = rows("abcdef", ("b",), question="?")
    settings = {"max_length": 5, "doc_stride": 1, "max_question_length": 1}
    batch = whole(prepare(loaded, characters(padding_side="left"), **settings).dataset)
    assert batch.null_position.tolist() == [-1, -1]
    assert batch.starts.tolist() == batch.ends.tolist() == [[2], [-1]]
    assert batch.inputs.keys() == {"input_ids", "attention_mask", "position_ids"}
    assert len(prepare(loaded, characters(padding_side="left"), training=True, **settings).dataset) == 1


def test_white_space_is_no_place_for_an_answer() -> None:
    # Tokens are bytes, so each space is one; golds have some at their edges, as published data does.
    loaded = rows("a  bc  d", ("  bc  ",), (" bc",), ("a ",), question="?")
    batch = whole(prepare(loaded, characters()).dataset)
    assert batch.context_mask[0].tolist() == [False, True, False, False, True, True, False, False, True]
    assert batch.starts.tolist() == [[4], [4], [1]]
    assert batch.ends.tolist() == [[5], [5], [1]]
    assert batch.context_mask.gather(1, batch.starts).all()
    assert batch.context_mask.gather(1, batch.ends).all()


def test_a_context_of_which_no_token_is_made() -> None:
    tokenizer = word_level(WORDS)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\W+"), "removed")
    several = [
        {"id": text, "question": "f", "context": text, "answers": {"text": [text], "answer_start": [0]}}
        for text in ("a b", "…")
    ]
    loaded = rows_to_examples(several, source="rows")
    batch = whole(prepare(loaded, tokenizer).dataset)
    assert batch.inputs["input_ids"].tolist() == [[2, 9, 3, 4, 5, 3], [2, 9, 3, 3, 0, 0]]
    assert batch.context_mask.sum(1).tolist() == [2, 0]
    assert batch.starts.tolist() == [[3], [-1]]
    assert len(prepare(loaded, tokenizer, training=True).dataset) == 1


def test_rows_are_filled_with_the_tokenizers_own_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = word_level(WORDS, padding_side="left")
    tokenizer.pad_token = "g"
    monkeypatch.setattr(type(tokenizer), "pad_token_type_id", 3)
    loaded = rows("a b c d e", ("d",), question="f")
    batch = whole(prepare(loaded, tokenizer, max_length=8, doc_stride=2, max_question_length=2).dataset)
    assert batch.inputs["input_ids"][1].tolist() == [10, 2, 6, 7, 8, 3, 9, 3]
    assert batch.inputs["token_type_ids"][1].tolist() == [3, 0, 0, 0, 0, 0, 1, 1]


# Against the tokenizer


class Reference(NamedTuple):
    """Windows as the tokenizer makes them: the example of each, and its inputs, ``[windows, length]``."""

    example: NDArray[np.int64]
    inputs: dict[str, NDArray[np.int64]]


def sides(family: str, questions: Sequence[Any], contexts: Sequence[Any]) -> tuple[Any, Any, str]:
    """The two texts in order, and which is cut."""
    if family in CONTEXT_FIRST:
        return contexts, questions, "only_first"
    return questions, contexts, "only_second"


def by_tokenizer(
    tokenizer: Any, family: str, questions: list[str], contexts: list[str], max_length: int, doc_stride: int
) -> Reference:
    """The common config, for questions that are not cut."""
    first, second, strategy = sides(family, questions, contexts)
    found = tokenizer(
        first,
        second,
        truncation=strategy,
        max_length=max_length,
        stride=doc_stride,
        return_overflowing_tokens=True,
        padding="longest",
    )
    return reference_of(found.pop("overflow_to_sample_mapping"), found)


def by_parts(
    tokenizer: Any,
    family: str,
    questions: list[str],
    contexts: list[str],
    max_length: int,
    doc_stride: int,
    max_question_length: int,
) -> Reference:
    """The tokenizer's own truncation of the question, and then of the context beside it."""
    backend = plain_backend(tokenizer)
    question_type, context_type = (1, 0) if family in CONTEXT_FIRST else (0, 1)
    encoded = {text: backend.encode(text, add_special_tokens=False) for text in {*questions, *contexts}}
    for question in set(questions):
        encoded[question].truncate(max_question_length)
        encoded[question] = remade(encoded[question], question_type)
    for context in set(contexts):
        encoded[context] = remade(encoded[context], context_type)
    backend.enable_truncation(max_length, stride=doc_stride, strategy=sides(family, "", "")[2])
    example, found = [], []
    for row, (question, context) in enumerate(zip(questions, contexts, strict=True)):
        first, second, _ = sides(family, encoded[question], encoded[context])
        pair = backend.post_process(first, second)
        for window in (pair, *pair.overflowing):
            ids = window.ids
            example.append(row)
            found.append({"input_ids": ids, "token_type_ids": window.type_ids, "attention_mask": [1] * len(ids)})
    wanted = [{name: window[name] for name in tokenizer.model_input_names} for window in found]
    return reference_of(example, tokenizer.pad(wanted, padding="longest"))


def reference_of(example: Sequence[int], found: Mapping[str, Any]) -> Reference:
    # Not `return_tensors`, which takes many times as long.
    return Reference(np.array(example), {name: np.array(values) for name, values in found.items()})


def remade(encoding: Encoding, type_id: int) -> Encoding:
    """One text's encoding as it is within a pair, without the rest that was cut off, which would come back."""
    state = json.loads(encoding.__getstate__())
    state |= {"overflowing": [], "type_ids": [type_id] * len(encoding.ids)}
    new = Encoding()
    new.__setstate__(json.dumps(state).encode())
    return new


def check_windows(dataset: WindowDataset, examples: NDArray[np.int64], reference: Reference, left: bool) -> None:
    """All windows of these examples, in batches of several sizes, are those of the reference."""
    windows = np.flatnonzero(np.isin(dataset.windows.example, examples))
    assert dataset.windows.example[windows].tolist() == examples[reference.example].tolist()
    lengths = reference.inputs["attention_mask"].sum(1)
    assert dataset.lengths[windows].tolist() == lengths.tolist()
    order = np.random.default_rng(0).permutation(len(windows))
    for size, part in ((len(windows), order), (48, order), (7, order[:700])):
        for start in range(0, len(part), size):
            chosen = part[start : start + size]
            inputs = dataset[windows[chosen]].inputs
            if left:
                places = inputs.pop("position_ids")
                assert places.equal((inputs["attention_mask"].cumsum(1) - 1).clamp(min=0))
            assert inputs.keys() == reference.inputs.keys()
            longest = lengths[chosen].max()
            columns = slice(-longest, None) if left else slice(None, longest)
            for name, values in inputs.items():
                assert np.array_equal(values.numpy(), reference.inputs[name][chosen, columns]), name


def compare(shared: Path, family: str, language: str, lengths: tuple[int, int, int], select: str = "validation") -> int:
    """Compares the windows of one file with the tokenizer's; returns how many questions were cut."""
    max_length, doc_stride, max_question_length = lengths
    tokenizer = build(family, shared)
    dataset = prepare(
        read(shared / f"data/xquad.{language}.json", select),
        tokenizer,
        max_length=max_length,
        doc_stride=doc_stride,
        max_question_length=max_question_length,
    ).dataset
    assert dataset.questions is not None
    questions = [question.question.lstrip() for question in dataset.questions]
    contexts = [question.context for question in dataset.questions]
    tokens = tokenizer(questions, add_special_tokens=False).input_ids
    long = np.array([len(ids) for ids in tokens]) > max_question_length

    def texts(rows: NDArray[np.int64]) -> tuple[list[str], list[str]]:
        return [questions[row] for row in rows], [contexts[row] for row in rows]

    for examples, make, more in (
        (np.flatnonzero(~long), by_tokenizer, ()),
        (np.flatnonzero(long), by_parts, (max_question_length,)),
    ):
        if len(examples):
            reference = make(tokenizer, family, *texts(examples), max_length, doc_stride, *more)
            check_windows(dataset, examples, reference, tokenizer.padding_side == "left")
    return int(long.sum())


@pytest.mark.parametrize("language", ["en", "hi"])
@pytest.mark.parametrize("family", FAMILIES)
def test_windows_equal_the_tokenizers(family: str, language: str, shared: Path) -> None:
    cut = compare(shared, family, language, (160, 48, 16), "validation[:30]+validation[-30:]")
    assert 0 < cut < 60 or (family, language) in {("roberta", "hi"), ("llama", "hi"), ("qwen", "hi")}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "language", "lengths"),
    [
        pytest.param(family, language, LENGTHS[(row + column) % 3], id=f"{family}-{language}")
        for row, family in enumerate(FAMILIES)
        for column, language in enumerate(LANGUAGES)
    ],
)  # every family at all lengths and in all languages, and these at all lengths
def test_all_windows_equal_the_tokenizers(
    family: str, language: str, lengths: tuple[int, int, int], shared: Path
) -> None:
    cut = compare(shared, family, language, lengths)
    print(f"{cut} questions cut")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("family", FAMILIES)
def test_masks_and_offsets_equal_the_tokenizers(family: str, language: str, shared: Path) -> None:
    tokenizer = build(family, shared)
    loaded = read(shared / f"data/xquad.{language}.json", "validation[:150]")
    dataset = prepare(loaded, tokenizer, max_length=1 << 20, max_question_length=1 << 16).dataset
    assert dataset.questions is not None
    backend = plain_backend(tokenizer)
    # The first question of each context.
    _, firsts = np.unique(dataset.encoded.context_index, return_index=True)
    for row in firsts:
        question, batch = dataset.questions[row], dataset[np.array([row])]
        assert batch.offsets is not None
        first, second, _ = sides(family, question.question.lstrip(), question.context)
        pair = backend.encode(first, second)
        side = 0 if family in CONTEXT_FIRST else 1
        assert batch.inputs["input_ids"].tolist() == [pair.ids]
        assert batch.question_mask.tolist() == [[of == 1 - side for of in pair.sequence_ids]]
        of_context = np.array(pair.sequence_ids) == side
        ours = batch.offsets[0].numpy()
        assert not ours[~of_context].any()
        theirs = np.array(pair.offsets)[of_context]
        expected = covered(question.context, theirs.tolist())
        assert [tuple(span) for span in ours[of_context].tolist() if span[0] < span[1]] == list(filter(None, expected))
        assert batch.context_mask[0, of_context].tolist() == [span is not None for span in expected]
        assert not batch.context_mask[0, ~of_context].any()
        special = [place for place, of in enumerate(pair.sequence_ids) if of is None]
        classification = [place for place in special if pair.ids[place] == tokenizer.cls_token_id]
        assert batch.null_position.tolist() == [*classification, *special, -1][:1]
