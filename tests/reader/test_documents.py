"""A Reader that answers from many documents, beside all logits in memory and one softmax."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qa_lightning import Reader
from qa_lightning.reader import inputs
from qa_lightning.reader.ensemble import Ensemble
from qa_lightning.utils.errors import UserError
from tests.data.tokenizers import word_level
from tests.reader.document_reference import expected
from tests.reader.stand_ins import make_reader
from tests.tiny import PASSAGES, tiny_folder

WORDS = "who where sang wrote Mara mara Ivo Oslo Lund in and . , ?".split()
TOKENIZER = word_level(WORDS)
MARA = {"Mara": (6.0, 6.0), "mara": (5.5, 5.5), "Ivo": (4.0, 4.0), "Oslo": (3.0, 3.0)}
SHORT_WINDOWS = {"max_seq_len": 14, "max_question_len": 4, "doc_stride": 2}
NULL: dict[str, Any] = {"handle_impossible_answer": True}
QUESTION = "who sang ?"


def alike(answers: Any) -> Any:
    """The same answers, whose scores may differ by rounding."""
    if isinstance(answers, list):
        return [alike(answer) for answer in answers]
    places = [place | {"score": pytest.approx(place["score"], rel=1e-9)} for place in answers["places"]]
    return answers | {"score": pytest.approx(answers["score"], rel=1e-9), "places": places}


def texts(seed: int, count: int, longest: int = 25) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(rng.choices(WORDS, k=rng.randint(1, longest))) for _ in range(count)]


def random_reader(seed: int, **settings: Any) -> Reader:
    """Logits of few values, so that many spans score the same."""
    rng = random.Random(seed)
    logits = {word: (rng.choice([0.0, 1.0, 2.5]), rng.choice([-1.0, 0.0, 3.0])) for word in WORDS}
    return make_reader(TOKENIZER, logits | {"[CLS]": (rng.uniform(0, 3), rng.uniform(0, 3))}, **settings)


@pytest.mark.parametrize("seed", range(12))
def test_answers_are_those_of_all_logits_in_memory(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(seed)
    settings: dict[str, Any] = SHORT_WINDOWS | {
        "max_answer_len": rng.choice([1, 3]),
        "n_best_size": rng.choice([1, 2, 5, 20]),
        "handle_impossible_answer": rng.random() < 0.6,
        "null_score_diff_threshold": rng.choice([-2.0, 0.0, 2.0]),
    }
    reader = random_reader(seed, **settings)
    contexts = texts(seed, count=rng.choice([1, 3, 11]))
    for block in (1, 4, 1024):
        monkeypatch.setattr(inputs, "BLOCK", block)
        for top_k in (2, 5, 40):
            wanted = expected(reader, QUESTION, contexts, top_k=top_k)
            assert reader(question=QUESTION, contexts=contexts, top_k=top_k) == alike(wanted), (block, top_k)
        assert reader(question=QUESTION, contexts=contexts) == alike(expected(reader, QUESTION, contexts)[0])


@pytest.mark.parametrize("settings", [{}, NULL, NULL | {"null_score_diff_threshold": -30.0}, {"n_best_size": 2}])
def test_one_document_is_answered_as_one_context_to_the_bit(settings: dict[str, Any], tmp_path: Path) -> None:
    model = Reader.from_pretrained(tiny_folder(tmp_path), max_seq_len=40, max_question_len=12, doc_stride=8, **settings)
    by_hand = random_reader(3, **SHORT_WINDOWS, **settings)
    of_model = [context for context, _ in PASSAGES]
    for reader, contexts in ((model, [*of_model, " ".join(of_model * 9)]), (by_hand, texts(1, 6, longest=200))):
        questions = [QUESTION, "where ?"]
        for context in contexts:
            for top_k in (1, 4, 200):
                plain = reader(question=questions, context=context, top_k=top_k)
                found = reader(question=questions, contexts=[context], top_k=top_k)
                for ours, theirs in zip(*([each] if top_k == 1 else each for each in (found, plain)), strict=True):
                    assert [without_places(answer) for answer in as_list(ours)] == as_list(theirs)
            (ours,) = reader.predictions(question=QUESTION, contexts=[context])
            (theirs,) = reader.predictions(question=QUESTION, context=context)
            assert (ours.text, ours.null_odds) == (theirs.text, theirs.null_odds)
            assert [answer.probability for answer in ours.answers] == [answer.probability for answer in theirs.answers]


def as_list(answers: Any) -> list[Any]:
    return answers if isinstance(answers, list) else [answers]


def without_places(answer: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key not in ("document", "places")}


def test_equal_answers_are_grouped_with_their_places() -> None:
    reader = make_reader(TOKENIZER, MARA, max_answer_len=1)
    contexts = ["Ivo sang .", "in Oslo mara wrote .", "Mara and Mara"]
    mara, ivo = reader(question=QUESTION, contexts=contexts, top_k=2)
    assert mara == {
        "score": mara["score"],
        "start": 0,
        "end": 4,
        "answer": "Mara",
        "document": 2,
        "places": [
            {"document": 2, "start": 0, "end": 4, "score": mara["score"]},
            {"document": 2, "start": 9, "end": 13, "score": mara["score"]},
            {"document": 1, "start": 8, "end": 12, "score": mara["places"][2]["score"]},
        ],
    }
    assert (ivo["answer"], ivo["document"]) == ("Ivo", 0)
    assert 0 < mara["places"][2]["score"] < mara["score"]
    assert sum(place["score"] for place in mara["places"]) + ivo["score"] <= 1
    named = dict(zip(["a.txt", "b.txt", "c.txt"], contexts, strict=True))
    found = reader(question=QUESTION, contexts=named, top_k=2)
    assert [place["document"] for place in found[0]["places"]] == ["c.txt", "c.txt", "b.txt"]
    assert found[1]["document"] == "a.txt"


def test_one_null_stands_for_all_documents() -> None:
    reader = make_reader(TOKENIZER, {"[CLS]": (2.0, 2.0), "Mara": (3.0, 3.0)}, max_answer_len=1, **NULL)
    null = reader(question=QUESTION, contexts=["in Oslo .", "in Lund ."])
    assert null == {**dict.fromkeys(("start", "end"), 0), "score": null["score"], "answer": "", "document": None} | {
        "places": []
    }
    answers = reader(question=QUESTION, contexts=["in Oslo .", "Mara sang ."], top_k=9)
    assert [answer["answer"] for answer in answers[:2]] == ["Mara", ""]
    assert sum(not answer["answer"] for answer in answers) == 1


def test_distractors_do_not_change_the_answer_but_compete_with_it() -> None:
    """As in HotpotQA: the paragraph with the answer among others that are about something like it."""
    reader = make_reader(TOKENIZER, MARA, max_answer_len=1)
    gold, others = "Mara sang in Oslo .", ["Ivo sang in Lund .", "Ivo wrote .", "in Lund and in Oslo ."]
    alone = reader(question=QUESTION, contexts=[gold])
    for place in range(len(others) + 1):
        contexts = [*others[:place], gold, *others[place:]]
        among = reader(question=QUESTION, contexts=contexts)
        assert (among["answer"], among["document"]) == ("Mara", place)
        assert among["score"] < alone["score"]
    # Asked one by one, every paragraph is sure of itself; over all of them, one scale says which is right.
    by_itself = [reader(question=QUESTION, context=context)["score"] for context in others[:2]]
    together = reader(question=QUESTION, contexts=[gold, *others], top_k=2)
    assert min(by_itself) > 0.9
    assert (together[0]["answer"], together[1]["answer"]) == ("Mara", "Ivo")
    assert together[1]["score"] < 0.05


def test_real_paragraphs_as_distractors(shared: Path, tmp_path: Path) -> None:
    """The paragraphs of an article are the distractors of each other's questions, and one long text as in NewsQA."""
    articles = json.loads((shared / "data/xquad.en.json").read_text(encoding="utf-8"))["data"]
    contexts = [paragraph["context"] for paragraph in articles[0]["paragraphs"]]
    question = "Who won in 2015?"
    reader = Reader.from_pretrained(tiny_folder(tmp_path), max_seq_len=64, max_question_len=16, doc_stride=16, **NULL)
    long = "\n\n".join(contexts * 2)
    for asked in (contexts, [long], [*contexts, long, contexts[0]]):
        for top_k in (2, 30):
            found = reader(question=question, contexts=asked, top_k=top_k)
            wanted = expected(reader, question, asked, top_k=top_k)
            assert [answer["score"] for answer in found] == pytest.approx(
                [answer["score"] for answer in wanted], rel=1e-3
            )
            for answer in found:
                for place in answer["places"]:
                    cut = asked[place["document"]][place["start"] : place["end"]]
                    assert cut.casefold() == answer["answer"].casefold()


def test_documents_are_read_piece_by_piece_and_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "BLOCK", 8)
    reader = make_reader(TOKENIZER, MARA, max_answer_len=1)
    given = 0
    ahead: list[int] = []
    scored = 0
    score = reader.scorer.score

    def watched(pairs: Any, settings: Any) -> Any:
        nonlocal scored
        ahead.append(given - scored)
        scored += len(pairs)
        return score(pairs, settings)

    monkeypatch.setattr(reader.scorer, "score", watched)

    class Text(str):
        __slots__ = ("__weakref__",)

    import gc
    import weakref

    alive: weakref.WeakSet[Text] = weakref.WeakSet()
    most = 0

    def documents() -> Iterator[str]:
        nonlocal given, most
        for number in range(200):
            given += 1
            if number % 8 == 0:
                gc.collect()
                most = max(most, len(alive))
            text = Text(f"Ivo {'and ' * (number % 5)}" + ("Mara ." if number == 123 else "in Lund ."))
            alive.add(text)
            yield text

    answer = reader(question=QUESTION, contexts=documents())
    assert (answer["answer"], answer["document"]) == ("Mara", 123)
    assert (given, scored, len(ahead)) == (200, 200, 25)
    assert max(ahead) <= 8
    assert most <= 2 * 8


def test_long_documents_make_smaller_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = make_reader(TOKENIZER, MARA)
    pieces: list[int] = []
    score = reader.scorer.score
    monkeypatch.setattr(type(reader.scorer), "block_characters", 1000)
    monkeypatch.setattr(
        reader.scorer, "score", lambda pairs, settings: (pieces.append(len(pairs)), score(pairs, settings))[1]
    )
    contexts = ["and " * 300 + "Ivo", *["in Lund ."] * 30, "and " * 1000 + "Mara"]
    assert reader(question=QUESTION, contexts=contexts)["document"] == 31
    assert pieces == [1, 31]


def test_several_questions_share_the_documents_even_of_an_iterator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "BLOCK", 3)
    reader = random_reader(5, **SHORT_WINDOWS, **NULL)
    contexts, questions = texts(5, 7), [QUESTION, "where ?", "who and who ?"]
    found = reader(question=questions, contexts=iter(contexts), top_k=3)
    assert found == [reader(question=question, contexts=contexts, top_k=3) for question in questions]
    assert found == alike_each([expected(reader, question, contexts, top_k=3) for question in questions])
    assert reader(question=[], contexts=contexts) == []


def alike_each(answers: list[list[Any]]) -> list[Any]:
    return [alike(each) for each in answers]


def test_forms_of_records() -> None:
    reader = make_reader(TOKENIZER, MARA)
    contexts = ["Ivo sang .", "Mara sang ."]
    answer = reader(question=QUESTION, contexts=contexts)
    record = {"question": QUESTION, "contexts": contexts}
    other = {"question": QUESTION, "contexts": {"x": "Ivo sang ."}}
    assert reader(record) == answer
    assert reader([record]) == [answer]
    assert reader(question=[QUESTION], contexts=contexts) == [answer]
    assert reader((record, other)) == [answer, reader(other)]
    assert reader(other)["document"] == "x"
    assert list(reader(iter([record, other]))) == [answer, reader(other)]
    asked = 0

    def endless() -> Iterator[dict[str, Any]]:
        nonlocal asked
        while True:
            asked += 1
            yield record

    stream = reader(endless())
    assert asked == 0
    assert [next(stream), next(stream)] == [answer, answer]
    assert asked == 2
    (prediction,) = reader.predictions(record)
    assert (prediction.question, prediction.text, prediction.answers.span.document) == (QUESTION, "Mara", 1)


def test_where_no_document_has_an_answer_it_is_empty() -> None:
    from tokenizers import normalizers

    tokenizer = word_level(WORDS)
    tokenizer.backend_tokenizer.normalizer = normalizers.StripAccents()
    reader = make_reader(tokenizer, {})
    nothing = {"score": 0.0, "start": 0, "end": 0, "answer": "", "document": None, "places": []}
    assert reader(question="who", contexts=["\u0301", "\u0301\u0301"]) == nothing
    assert reader(question="who", contexts=["\u0301"], top_k=2) == []
    assert reader(question="who", contexts=["\u0301", "Mara"])["document"] == 1


@pytest.mark.filterwarnings("default")
def test_a_question_that_is_cut_is_counted_once(recwarn: pytest.WarningsRecorder) -> None:
    reader = make_reader(TOKENIZER, MARA, max_seq_len=40, max_question_len=10, doc_stride=4)
    reader(question="who sang " * 100, contexts=["Ivo sang .", "Mara sang ."])
    assert [str(warning.message)[:24] for warning in recwarn] == ["1 question cut at max_qu"]


def test_an_ensemble_answers_from_documents_as_from_one_text() -> None:
    """A space between documents belongs to no span, so that the spans of one document are those of a text cut there."""
    settings = SHORT_WINDOWS | {"max_answer_len": 1, "doc_stride": 2}
    for more in ({}, NULL, NULL | {"n_best_size": 2}):
        members = [random_reader(seed, **settings, **more) for seed in (1, 2)]
        reader = Reader(Ensemble(members, [0.3, 0.7]))
        contexts = texts(7, 6)
        starts = [sum(len(context) + 1 for context in contexts[:i]) for i in range(len(contexts))]
        for top_k in (1, 3, 12):
            found = as_list(reader(question=QUESTION, contexts=contexts, top_k=top_k))
            whole = as_list(reader(question=QUESTION, context=" ".join(contexts), top_k=top_k))
            assert [answer["answer"].lower() for answer in found] == [answer["answer"].lower() for answer in whole]
            assert [answer["score"] for answer in found] == pytest.approx([answer["score"] for answer in whole])
            for ours, theirs in zip(found, whole, strict=True):
                assert not ours["places"] or starts[ours["document"]] + ours["start"] == theirs["start"]
        with pytest.raises(UserError, match="an ensemble reads documents twice, and an iterator gives them once"):
            reader(question=QUESTION, contexts=iter(contexts))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"question": "who ?", "contexts": []}, "contexts is empty: give question=… and contexts=[…]"),
        ({"question": "who ?", "contexts": {}}, "contexts is empty"),
        ({"question": "who ?", "contexts": iter([])}, "contexts is empty"),
        ({"question": "who ?", "contexts": ["in .", " "]}, "contexts: the document number 1 is empty; leave it out"),
        ({"question": "who ?", "contexts": iter(["in .", 3])}, "contexts: the document number 1 is 3, not a text"),
        ({"question": "who ?", "contexts": {"a": "in .", "b": None}}, "contexts: the document 'b' is"),
        ({"question": "who ?", "contexts": {1: "in ."}}, "contexts: a document's name is 1, not a text"),
        ({"question": "who ?", "contexts": "in ."}, "contexts is one text; give it as context=…, or in a list"),
        ({"question": "who ?", "contexts": 3}, "contexts is int"),
        ({"question": "who ?", "contexts": ["in ."], "context": "in ."}, "context and contexts are both given"),
        ({"contexts": ["in ."]}, "question is missing"),
        ({"question": 3, "contexts": ["in ."]}, "question is int, not a text or a list"),
        ({"question": " ", "contexts": ["in ."]}, "the question: its question is empty"),
        ({"question": ["who ?", ""], "contexts": ["in ."]}, "question 2: its question is empty"),
        ({"inputs": {"question": "who ?", "contexts": []}}, "the question: its contexts is empty"),
        ({"inputs": {"contexts": ["in ."]}}, "the question: its question is"),
        ({"inputs": [{"question": "who ?", "contexts": ["a"], "context": "b"}]}, "question 1 has both 'context' and"),
        ({"inputs": [{"question": "who ?", "contexts": ["a"]}, {"question": "who ?"}]}, "question 2 has no 'contexts'"),
        ({"inputs": {"question": "who ?", "contexts": ["a"]}, "contexts": ["a"]}, "questions are given twice"),
        ({"question": "who ?", "contexts": ["in ."], "legacy": True}, "legacy=True answers as transformers' former"),
    ],
)
def test_bad_input(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        make_reader(TOKENIZER, MARA)(**arguments)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400
