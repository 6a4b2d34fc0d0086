"""What a teacher predicts for its own tokens, carried over to the student's through characters."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from qa_lightning.data.sources import RawSplit, rows_to_examples
from qa_lightning.data.splits import Split, SplitConfig, build_split
from qa_lightning.data.teacher_alignment import align_probabilities, tokens_at
from qa_lightning.data.teacher_targets import attach_teachers
from qa_lightning.data.window_logits import WindowLogits
from qa_lightning.modeling.teacher import TeacherModel
from qa_lightning.pretrained.loading import load_tokenizer
from tests.data.tokenizers import FAMILIES
from tests.teachers import letters_folder
from tests.tiny import tiny_folder, tiny_tokenizer

Spans = Sequence[tuple[int, int]]


def slowly(probabilities: Sequence[float], theirs: Spans, ours: Spans, *, ends: bool) -> list[float]:
    """What `align_probabilities` does, token by token and character by character."""
    carried = [0.0] * len(ours) + [probabilities[-1]]
    for (first, end), probability in zip(theirs, probabilities, strict=False):
        if first == end:
            continue
        character = end - 1 if ends else first
        holding = [token for token, (begin, stop) in enumerate(ours) if character in range(begin, stop)]
        if holding:
            carried[holding[-1] if ends else holding[0]] += probability
    total = sum(carried)
    return [value / total if total else 0.0 for value in carried]


def random_tokens(random: np.random.Generator, characters: int) -> list[tuple[int, int]]:
    """Tokens of a text: some cover nothing, some share a character, as bytes of a letter do, and some gaps."""
    tokens, place = [], 0
    while place < characters:
        end = min(characters, place + int(random.integers(1, 5)))
        kind = random.integers(6)
        if kind == 0:
            tokens += [(place, place)]
        elif kind == 1:
            tokens += [(place, place + 1)] * 3
            place += 1
        elif kind == 2:
            place = end  # characters that no token covers
        else:
            tokens.append((place, end))
            place = end
    return tokens


def as_array(spans: Spans) -> NDArray[np.int32]:
    return np.array(spans, dtype=np.int32).reshape(-1, 2)


# By hand


def test_a_start_goes_where_its_first_character_is_and_an_end_where_its_last_is() -> None:
    # "London bridge": theirs Lon|don| bridge, ours London|brid|ge
    theirs, ours = as_array([(0, 3), (3, 6), (7, 13)]), as_array([(0, 6), (7, 11), (11, 13)])
    probabilities = np.array([0.1, 0.2, 0.3, 0.4])
    assert align_probabilities(probabilities, theirs, ours, ends=False) == pytest.approx([0.3, 0.3, 0, 0.4])
    assert align_probabilities(probabilities, theirs, ours, ends=True) == pytest.approx([0.3, 0, 0.3, 0.4])


def test_what_falls_on_nothing_is_dropped_and_the_rest_sums_to_one() -> None:
    theirs, ours = as_array([(0, 3), (3, 3), (4, 6)]), as_array([(4, 6)])
    found = align_probabilities(np.array([0.3, 0.2, 0.1, 0.4]), theirs, ours, ends=False)
    assert found == pytest.approx([0.2, 0.8])
    assert align_probabilities(np.array([0.5, 0.5, 0.0, 0.0]), theirs, ours, ends=False).tolist() == [0, 0]


@pytest.mark.parametrize("seed", range(40))
def test_alignment_is_what_a_slow_reference_gives(seed: int) -> None:
    random = np.random.default_rng(seed)
    characters = int(random.integers(1, 30))
    theirs, ours = random_tokens(random, characters), random_tokens(random, characters)
    probabilities = random.dirichlet(np.ones(len(theirs) + 1))
    for ends in (False, True):
        found = align_probabilities(probabilities, as_array(theirs), as_array(ours), ends=ends)
        assert found == pytest.approx(slowly(probabilities.tolist(), theirs, ours, ends=ends))
        assert found.sum() == pytest.approx(1)


def test_a_text_without_tokens() -> None:
    assert tokens_at(np.array([0, 3]), as_array([]), last=True).tolist() == [-1, -1]
    assert align_probabilities(np.array([0.4, 0.6]), as_array([(0, 2)]), as_array([(1, 1)]), ends=False) == (
        pytest.approx([0, 1])
    )


# Whole windows

CONTEXT = "Ada wrote the first program in London.  Grace built a compiler in Paris. Alan lived in a house in Rome."


def settings(**changes: Any) -> SplitConfig:
    values: dict[str, Any] = {"max_length": 20, "doc_stride": 4, "max_question_length": 8, "answers": "first"}
    values |= {"allow_impossible_windows": True, "version_2_with_negative": True, "on_misaligned": "repair"}
    return SplitConfig(**values | {"cache_dir": None} | changes)


def questions() -> RawSplit:
    def row(name: str, context: str, answer: str) -> dict[str, Any]:
        golds = {"text": [answer], "answer_start": [context.index(answer)]}
        return {"id": name, "question": "who wrote ?", "context": context, "answers": golds}

    return rows_to_examples([row("a", CONTEXT, "Grace"), row("b", "In Rome lived Ada.", "Ada")], source="rows")


def taught(split: Split, teacher: Path, tokenizer: Any, config: SplitConfig) -> NDArray[np.float32]:
    """The teacher's predictions in a batch of all windows."""
    attach_teachers(split, [TeacherModel(str(teacher))], tokenizer, config, torch.device("cpu"))
    logits = split.dataset[np.arange(len(split.dataset))].teacher_logits
    assert logits is not None
    return logits[0].numpy()


@pytest.mark.parametrize("pad_left", [False, True])
def test_windows_of_another_tokenizer_by_transformers_itself(tmp_path: Path, *, pad_left: bool) -> None:
    """Each window's context, cut out of the text, is given to the teacher with the question."""
    from transformers import AutoModelForQuestionAnswering

    student = tiny_tokenizer()
    if pad_left:
        student.padding_side, student.cls_token = "left", None  # as a causal decoder's
    folder = letters_folder(tmp_path)
    config = settings()
    split = build_split(questions(), student, config, source="rows", training=True)
    found = taught(split, folder, student, config)
    tokenizer, network = load_tokenizer(str(folder)), AutoModelForQuestionAnswering.from_pretrained(folder).eval()
    dataset = split.dataset
    assert len(dataset) == 3
    dataset.questions = [None] * 2  # type: ignore[list-item] - for offsets
    batch = dataset[np.arange(len(dataset))]
    assert batch.offsets is not None
    for row in range(len(dataset)):
        context = split.table["context"].to_pylist()[dataset.windows.example[row]]
        of_context = batch.context_mask[row].nonzero()[:, 0].tolist()
        ours = [tuple(span) for span in batch.offsets[row, of_context].tolist()]
        first, end = ours[0][0], ours[-1][1]
        encoding = tokenizer("who wrote ?", context[first:end], return_offsets_mapping=True)
        theirs = [
            (begin + first, stop + first) if sequence == 1 else (0, 0)
            for (begin, stop), sequence in zip(encoding["offset_mapping"], encoding.sequence_ids(), strict=True)
        ]
        with torch.no_grad():
            output = network(**{k: torch.tensor([encoding[k]]) for k in ("input_ids", "token_type_ids")})
        for which, logits in enumerate((output.start_logits, output.end_logits)):
            probabilities = logits[0].softmax(-1).tolist()
            expected = np.zeros(found.shape[-1])
            places = [*of_context, int(batch.null_position[row])]
            expected[places] = slowly([*probabilities, probabilities[0]], theirs, ours, ends=which == 1)
            np.testing.assert_allclose(np.exp(found[which, row]), expected, atol=1e-5)


def test_the_same_tokenizer_is_taken_as_it_is(tmp_path: Path) -> None:
    from transformers import AutoModelForQuestionAnswering

    folder = tiny_folder(tmp_path)
    student, config = load_tokenizer(str(folder)), settings()
    split = build_split(questions(), student, config, source="rows", training=True)
    found = taught(split, folder, student, config)
    batch = split.dataset[np.arange(len(split.dataset))]
    network = AutoModelForQuestionAnswering.from_pretrained(folder).eval()
    with torch.no_grad():
        output = network(**batch.inputs)
    for which, logits in enumerate((output.start_logits, output.end_logits)):
        expected = logits.masked_fill(batch.inputs["attention_mask"] == 0, -torch.inf).log_softmax(-1)
        np.testing.assert_allclose(found[which], expected, atol=1e-5)


def test_a_teacher_with_types_of_tokens_is_asked_with_them(tmp_path: Path) -> None:
    """As is a BERT whose student is a DistilBERT, which has the same tokens and no types."""
    folder = tiny_folder(tmp_path)
    student, config = load_tokenizer(str(folder)), settings()
    student.model_input_names = ["input_ids", "attention_mask"]
    split = build_split(questions(), student, config, source="rows", training=True)
    batch = split.dataset[np.arange(len(split.dataset))]
    assert "token_type_ids" not in batch.inputs
    theirs = build_split(questions(), load_tokenizer(str(folder)), config, source="rows", training=True)
    expected = np.exp(taught(theirs, folder, load_tokenizer(str(folder)), config))
    may = batch.context_mask.numpy().copy()
    may[np.arange(len(batch)), batch.null_position] = True
    expected = np.where(may, expected, 0)
    found = np.exp(taught(split, folder, student, config))
    np.testing.assert_allclose(found, expected / expected.sum(-1, keepdims=True), atol=1e-5)


@pytest.mark.parametrize("name", ["roberta", "xlm-roberta", "llama", "xlnet"])
def test_students_of_every_kind(name: str, shared: Path, tmp_path: Path) -> None:
    student, config = FAMILIES[name](shared), settings(max_length=40, null_at_end=name == "llama")
    split = build_split(questions(), student, config, source="rows", training=True)
    found = np.exp(taught(split, letters_folder(tmp_path), student, config))
    batch = split.dataset[np.arange(len(split.dataset))]
    np.testing.assert_allclose(found.sum(-1), 1, rtol=1e-5)
    may = batch.context_mask.clone()
    may[torch.arange(len(batch)), batch.null_position] = True
    assert (found[:, ~may.numpy()] == 0).all()
    assert (found[:, torch.arange(len(batch)), batch.null_position] > 0).all()


def test_padding_is_at_the_side_where_it_is_in_the_batch() -> None:
    values = np.arange(5, dtype=np.float32)
    logits = WindowLogits(values, values + 10, np.array([0, 2, 5]), "a teacher")
    rows, never = np.array([1, 0]), -np.inf
    assert logits.gather(rows, 4).tolist() == [
        [[2, 3, 4, never], [0, 1, never, never]],
        [[12, 13, 14, never], [10, 11, never, never]],
    ]
    assert logits.gather(rows, 4, pad_left=True)[0].tolist() == [[never, 2, 3, 4], [never, never, 0, 1]]
