from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, decoders, pre_tokenizers, processors

from qa_lightning.data import encode as encode_module
from qa_lightning.data.alignment import ALIGNED
from qa_lightning.data.encode import AnswerChoice, encode, select_gold_spans
from qa_lightning.data.sources import rows_to_examples
from qa_lightning.data.tokens import plain_backend
from qa_lightning.utils.errors import UserError
from tests.data.prepared import prepare, rows
from tests.data.tokenizers import characters, word_level

WORDS = "who wrote it ? ada grace and the first program in london".split()


def aligned(*examples: tuple[list[str] | None, list[int | None] | None, list[int | None] | None]) -> pa.Table:
    """Examples of the same question and context with these gold texts, span starts and span ends."""
    texts, starts, ends = (list(column) for column in zip(*examples, strict=True))
    count = len(examples)
    columns = {
        "id": [str(i) for i in range(count)],
        "question": ["who ?"] * count,
        "context": pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), ["ada and grace and ada"]),
        "gold_texts": texts,
        "gold_starts": starts,
        "span_starts": starts,
        "span_ends": ends,
    }
    return pa.table(columns, schema=ALIGNED)


def golds(table: pa.Table, answers: AnswerChoice, tmp_path: Path) -> list[list[tuple[int, int]]]:
    """The token spans of each example."""
    found = encode(table, word_level(WORDS), max_question_length=9, answers=answers, cache_dir=tmp_path).golds
    spans = list(zip(found.first.tolist(), found.last.tolist(), strict=True))
    return [spans[a:b] for a, b in zip(found.bounds.tolist(), found.bounds.tolist()[1:], strict=False)]


# Which golds are trained on

SEVERAL = aligned(
    (["grace", "ada", "ada"], [8, 0, 18], [13, 3, 21]),
    (["grace", "ada", "ada"], [8, None, 18], [13, None, 21]),
    (["lost", "ada", "grace"], [None, 18, 8], [None, 21, 13]),
    (["ada", "ada and", "ada"], [0, 0, 0], [3, 7, 3]),
    (["ada", "and", "and", "ada"], [0, 4, 14, 18], [3, 7, 17, 21]),
    (["lost"], [None], [None]),
    ([], [], []),
    (None, None, None),
)


def test_the_first_gold_that_is_located(tmp_path: Path) -> None:
    assert golds(SEVERAL, "first", tmp_path) == [[(2, 2)], [(2, 2)], [(4, 4)], [(0, 0)], [(0, 0)], [], [], []]


def test_the_most_frequent_of_those_located(tmp_path: Path) -> None:
    # In the second example one "ada" counts, so that the two are equal; in the fifth "ada" comes first.
    assert golds(SEVERAL, "most_frequent", tmp_path) == [[(0, 0)], [(2, 2)], [(4, 4)], [(0, 0)], [(0, 0)], [], [], []]


def test_all_golds_each_span_of_tokens_once(tmp_path: Path) -> None:
    assert golds(SEVERAL, "all", tmp_path) == [
        [(2, 2), (0, 0), (4, 4)],
        [(2, 2), (4, 4)],
        [(4, 4), (2, 2)],
        [(0, 0), (0, 1)],
        [(0, 0), (1, 1), (3, 3), (4, 4)],
        [],
        [],
        [],
    ]


def test_golds_that_share_their_tokens_are_one(tmp_path: Path) -> None:
    table = aligned((["ad", "da and", "ada an"], [0, 1, 0], [2, 7, 6]), (["ada"], [0], [3]))
    assert golds(table, "all", tmp_path) == [[(0, 0), (0, 1)], [(0, 0)]]


def test_chosen_spans_are_characters() -> None:
    starts, ends, bounds = select_gold_spans(SEVERAL, "all")
    assert starts.tolist() == [8, 0, 18, 8, 18, 18, 8, 0, 0, 0, 0, 4, 14, 18]
    assert ends.tolist() == [13, 3, 21, 13, 21, 21, 13, 3, 7, 3, 3, 7, 17, 21]
    assert bounds.tolist() == [0, 3, 5, 7, 10, 14, 14, 14, 14]


def slowly_chosen(texts: list[str] | None, starts: list[int | None] | None, answers: AnswerChoice) -> list[int]:
    """Which of an example's golds are trained on, looked for one by one."""
    located = [i for i, start in enumerate(starts or ()) if start is not None]
    if answers == "all" or not located:
        return located
    if answers == "most_frequent":
        among = [(texts or [])[i] for i in located]
        return [max(located, key=lambda i: among.count((texts or [])[i]))]  # the first of equals
    return located[:1]


published = st.lists(st.tuples(st.sampled_from("abc"), st.none() | st.integers(0, 9)), max_size=7)


@given(st.lists(st.none() | published, min_size=1, max_size=6), st.sampled_from(["first", "most_frequent", "all"]))
def test_chosen_spans_are_those_of_a_loop(examples: Any, answers: AnswerChoice) -> None:
    texts = [None if golds is None else [text for text, _ in golds] for golds in examples]
    starts = [None if golds is None else [start for _, start in golds] for golds in examples]
    ends = [None if firsts is None else [first and first + 1 for first in firsts] for firsts in starts]
    table = aligned(*zip(texts, starts, ends, strict=True))
    expected = [slowly_chosen(*example, answers) for example in zip(texts, starts, strict=True)]
    # As a table of its own, and as some rows of another.
    for part in (table, pa.concat_tables([SEVERAL, table]).combine_chunks()[len(SEVERAL) :]):
        firsts, lasts, bounds = select_gold_spans(part, answers)
        assert bounds.tolist() == np.cumsum([0, *map(len, expected)]).tolist()
        for column, wanted in ((firsts, starts), (lasts, ends)):
            assert column.dtype == np.int64
            assert column.tolist() == [
                (wanted[row] or [])[gold] for row, chosen in enumerate(expected) for gold in chosen
            ]


def test_answers_that_cannot_be_located_or_are_not_known_give_no_label(tmp_path: Path) -> None:
    encoded = encode(SEVERAL, word_level(WORDS), max_question_length=9, cache_dir=tmp_path)
    assert encoded.unlabelled.tolist() == [False] * 5 + [True, False, True]


def test_an_answer_that_the_tokenizer_drops_gives_no_label(tmp_path: Path) -> None:
    # The answer's characters are no token.
    loaded = rows("ada \u200b grace", ("\u200b",), ("grace",))
    tokenizer = word_level(WORDS)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\W+"), "removed")
    encoded = prepare(loaded, tokenizer, cache_dir=tmp_path).dataset.encoded
    assert encoded.unlabelled.tolist() == [True, False]
    assert encoded.golds.first.tolist() == [1]


# Questions and contexts


def test_few_pairs_of_long_contexts_are_tokenised_to_check_the_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[int] = []
    layout_matches = encode_module._layout_matches

    def counted(layout: Any, backend: Any, questions: Any, contexts: Any) -> bool:
        class Backend:
            def encode_batch(self, pairs: list[Any]) -> Any:
                checked.append(len(pairs))
                return backend.encode_batch(pairs)

        return layout_matches(layout, Backend(), questions, contexts)

    monkeypatch.setattr(encode_module, "_layout_matches", counted)
    loaded = rows("ada and grace in london", *[("ada",)] * 40, question="who ?")
    for characters_at_most in (1 << 20, 50, 3):
        monkeypatch.setattr(encode_module, "_CHECKED_CHARACTERS", characters_at_most)
        prepare(loaded, word_level(WORDS))
    assert checked == [32, 2, 1]


def test_each_distinct_text_once(tmp_path: Path) -> None:
    encoded = encode(SEVERAL, word_level(WORDS), max_question_length=9, cache_dir=tmp_path)
    assert encoded.questions.ids.tolist() == [4, 7]
    assert encoded.contexts.ids.tolist() == [8, 10, 9, 10, 8]
    assert encoded.question_index.tolist() == encoded.context_index.tolist() == [0] * 8


def test_questions_lose_the_white_space_in_front(tmp_path: Path) -> None:
    spaces = "".join(chr(code) for code in range(0x110000) if chr(code).isspace())
    loaded = rows("ada", ("ada",), question=spaces + "who " + spaces)
    encoded = prepare(loaded, characters(), max_question_length=99, cache_dir=tmp_path).dataset.encoded
    assert bytes_of(encoded.questions.ids) == ("who " + spaces).encode()


def bytes_of(ids: Sequence[int]) -> bytes:
    tokens = characters().convert_ids_to_tokens(np.asarray(ids).tolist())
    return decoders.ByteLevel().decode(tokens).encode()


def test_long_questions_are_cut_and_counted(tmp_path: Path) -> None:
    split = prepare(rows("ada", ("ada",), question="who wrote it ?"), word_level(WORDS), max_question_length=3)
    assert split.report["questions_cut"] == 1
    assert "1 questions cut at max_question_length" in split.summary
    assert split.dataset[np.array([0])].inputs["input_ids"].tolist() == [[2, 4, 5, 6, 3, 8, 3]]
    split = prepare(rows("ada", ("ada",), question="who wrote it ?"), word_level(WORDS), max_question_length=4)
    assert split.report["questions_cut"] == 0
    assert split.dataset[np.array([0])].inputs["input_ids"].tolist() == [[2, 4, 5, 6, 7, 3, 8, 3]]


# A tokenizer for which the tokens of a pair are not those of its texts


class Neighbourly:
    """A backend that reads a text otherwise where another stands before it, as if in the other case."""

    def __init__(self, backend: Any) -> None:
        self.backend = backend

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    def encode_batch(self, texts: list[Any], **options: Any) -> Any:
        changed = [(text[0], text[1].swapcase()) if isinstance(text, tuple) else text for text in texts]
        return self.backend.encode_batch(changed, **options)

    def encode(self, first: str, second: str) -> Any:
        return self.encode_batch([(first, second)])[0]


@pytest.mark.parametrize("padding_side", ["right", "left"])
def test_texts_that_depend_on_each_other_are_kept_pair_by_pair(
    padding_side: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = word_level([*WORDS, "ADA", "WHO", "IT"], padding_side=padding_side)
    monkeypatch.setattr(encode_module, "plain_backend", lambda used: Neighbourly(plain_backend(used)))
    loaded = rows("ada and grace and ada " * 9 + "in london", ("london",), ("ada",), question="  who wrote it ?")
    dataset = prepare(loaded, tokenizer, max_length=20, doc_stride=4, max_question_length=9).dataset
    assert dataset.encoded.question_index.tolist() == [0, 1]
    context, question = loaded.table["context"][0].as_py(), "who wrote it ?"
    first, second, strategy = (question, context, "only_second")
    if padding_side == "left":
        first, second, strategy = (context, question, "only_first")
    expected = tokenizer(
        [first] * 2,
        [second.swapcase()] * 2,
        truncation=strategy,
        max_length=20,
        stride=4,
        return_overflowing_tokens=True,
        padding="longest",
        return_tensors="np",
    )
    batch = dataset[np.arange(len(dataset))]
    for name in ("input_ids", "attention_mask", "token_type_ids"):
        assert np.array_equal(batch.inputs[name].numpy(), expected[name]), name
    assert ("position_ids" in batch.inputs) == (padding_side == "left")
    assert dataset.windows.example.tolist() == expected["overflow_to_sample_mapping"].tolist()
    labelled = (batch.starts != batch.null_position[:, None]).any(1).nonzero().flatten().tolist()
    assert labelled == [4, 5]
    tokens = batch.inputs["input_ids"][labelled, batch.starts[labelled, 0]].tolist()
    assert tokenizer.convert_ids_to_tokens(tokens) == (
        ["[UNK]", "ADA"] if padding_side == "right" else ["london", "ada"]
    )


def test_a_tokenizer_without_one_layout_is_refused() -> None:
    # The part in front of the question looks special, but is the context once more.
    tokenizer = word_level(WORDS)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A", pair="$B [CLS] $A [SEP] $B", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    several = [
        {"id": text, "question": "who ?", "context": text, "answers": {"text": [text], "answer_start": [0]}}
        for text in ("ada", "grace")
    ]
    with pytest.raises(UserError, match="does not join question and context in the same way each time"):
        prepare(rows_to_examples(several, source="rows"), tokenizer)
