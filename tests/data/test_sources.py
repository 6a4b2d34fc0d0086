"""Ids, slices, golds and every check on the rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from qa_lightning.data.sources import EXAMPLES, RawSplit, read_examples, rows_to_examples
from qa_lightning.data.values import FORMS
from qa_lightning.utils.errors import UserError


def row(name: Any = "a", question: Any = "q?", context: Any = "a context", answers: Any = "context") -> dict[str, Any]:
    return {"id": name, "question": question, "context": context, "answers": answers}


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(entry) + "\n" for entry in rows))
    return str(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.jsonl"


def read(files: Any, **options: Any) -> RawSplit:
    return read_examples(**{"split": "train", "files": files, "training": True} | options)


def column(loaded: RawSplit, name: str) -> list[Any]:
    return loaded.table[name].to_pylist()


def error(files: Any, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        read(files, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


# Golds

NAN = float("nan")


@pytest.mark.parametrize(
    ("answers", "texts", "starts"),
    [
        ({"text": ["a", "b"], "answer_start": [0, 3]}, ["a", "b"], [0, 3]),
        ({"text": ["a", "b"], "answer_start": [0, None]}, ["a", "b"], [0, None]),
        ({"text": ["a", "b"]}, ["a", "b"], [None, None]),
        ({"text": "a", "answer_start": 3, "more": 1}, ["a"], [3]),
        ({"text": "a"}, ["a"], [None]),
        ({"text": [], "answer_start": []}, [], []),
        ([{"text": "a", "answer_start": -1}, {"text": "b"}], ["a", "b"], [None, None]),
        ({"text": ["a"], "answer_start": 1}, ["a"], [1]),
        (["a", "b"], ["a", "b"], [None, None]),
        ([], [], []),
        ("a", ["a"], [None]),
        ("[1]", ["[1]"], [None]),
        (" ", [], []),
        # No answer, as pipelines write it.
        (None, [], []),
        (NAN, [], []),
        ("", [], []),
        ({}, [], []),
        ({"text": None}, [], []),
        ({"text": None, "answer_start": None}, [], []),
        ({"text": NAN, "answer_start": NAN}, [], []),
        ({"text": "", "answer_start": -1}, [], []),
        ({"text": [""], "answer_start": [-1]}, [], []),
        ({"text": [" "], "answer_start": [0]}, [], []),
        ({"text": [None], "answer_start": [None]}, [], []),
        ({"text": [""], "answer_start": []}, [], []),
        ({"text": [], "answer_start": None}, [], []),
        ([None], [], []),
        ([""], [], []),
        ([{"text": "", "answer_start": -1}, {"text": None, "answer_start": None}], [], []),
        # Golds among such.
        ({"text": ["", "a", None], "answer_start": [-1, 3, None]}, ["a"], [3]),
        ([{"text": "a", "answer_start": 3}, {"text": None, "answer_start": None}, {"text": ""}], ["a"], [3]),
        ([None, "a", ""], ["a"], [None]),
        # As a text, which a table or a column of texts holds.
        ("[]", [], []),
        ('{"text": ["a"], "answer_start": [1]}', ["a"], [1]),
        ("{'text': ['a'], 'answer_start': [1]}", ["a"], [1]),
        # A missing value that was printed; but a word of the context is an answer.
        *((printed, [], []) for printed in ("nan", "NaN", "None", "null", "<NA>", "{}")),
        ("None of them", ["None of them"], [None]),
        # Numbers as other programs write them.
        ({"text": ["a", "b", "c"], "answer_start": [3.0, "4", " 5.0 "]}, ["a", "b", "c"], [3, 4, 5]),
        ({"text": "a", "answer_start": "3"}, ["a"], [3]),
        ({"text": "a", "answer_start": [3]}, ["a"], [3]),
        ({"text": ["a", "b"], "answer_start": ["", NAN]}, ["a", "b"], [None, None]),
        ({"text": ["a", "b"], "answer_start": NAN}, ["a", "b"], [None, None]),
    ],
)
def test_every_form_of_answers(answers: Any, texts: list[str], starts: list[int | None], path: Path) -> None:
    loaded = read(write(path, [row(answers=answers)]), version_2_with_negative=True)
    assert (column(loaded, "gold_texts"), column(loaded, "gold_starts")) == ([texts], [starts])


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        (7, "7"),
        (True, "a truth value"),
        ({"answer_start": [1]}, "text is null or missing"),
        ({"text": [1]}, "text is 1, not a text"),
        ({"text": ["a", "b"], "answer_start": [1]}, "as many answer_start (1) as text (2) are needed"),
        ({"text": ["a", "b"], "answer_start": 1}, "answer_start is 1, text is a list"),
        ({"text": ["a"], "answer_start": ["one"]}, "answer_start is 'one', not a whole number"),
        ({"text": ["a"], "answer_start": ["1,5"]}, "answer_start is '1,5', not a whole number"),
        ({"text": ["a"], "answer_start": ["1.5"]}, "answer_start is '1.5', not a whole number"),
        ({"text": ["a"], "answer_start": []}, "as many answer_start (0) as text (1) are needed"),
        ({"text": [""], "answer_start": [1, 2]}, "as many answer_start (2) as text (1) are needed"),
        ({"text": "a", "answer_start": float("inf")}, "answer_start is inf, not a whole number"),
        ({"texts": ["a"]}, "text is null or missing"),
        ([7], "a list that holds 7"),
        ({"text": "a", "answer_start": 1.5}, "answer_start is 1.5, not a whole number"),
        ({"text": "a", "answer_start": 2**31}, "answer_start is 2147483648, not a whole number"),
        ({"text": "a", "answer_start": True}, "answer_start is a truth value, not a whole number"),
        ({"text": "\ud800"}, "text is a text with half a surrogate pair at character 0"),
        ([["a"]], "a list that holds a list"),
        ([{"answer_start": 1}], "text is null or missing, not a text"),
        ("{'text': ['a'], 'answer_start': [1]", "a text that looks like one of these but is not JSON"),
    ],
)
def test_answers_of_a_wrong_shape(answers: Any, reason: str, path: Path) -> None:
    file = write(path, [row(), row("b", answers=answers)])
    assert error(file) == f"{path}, row 2 (id 'b'): answers must be {FORMS}; found {reason}"


def test_impossible_questions_have_no_golds(path: Path) -> None:
    flags = [True, 1, "true", 1.0, False, 0, None, "", 0.0, NAN]
    file = write(path, [row(number) | {"is_impossible": flag} for number, flag in enumerate(flags)])
    loaded = read(file, version_2_with_negative=True)
    assert column(loaded, "gold_texts") == [[]] * 4 + [["context"]] * 6
    for flag, what in (("maybe", "'maybe'"), ([], "a list")):
        file = write(path, [row() | {"is_impossible": flag}])
        assert error(file) == f"{path}, row 1 (id 'a'): is_impossible is {what}, not true or false"


def test_a_flag_rules_over_answers_in_training_and_they_over_it_in_evaluation(path: Path) -> None:
    rows = [row("a") | {"is_impossible": True}, row("b"), row("c", answers=7) | {"is_impossible": True}]
    file = write(path, rows)
    loaded = read(file, version_2_with_negative=True)
    assert column(loaded, "gold_texts") == [[], ["context"], []]
    assert loaded.overruled == ["a"]
    loaded = read(file, version_2_with_negative=True, training=False)
    assert column(loaded, "gold_texts") == [["context"], ["context"], []]
    assert loaded.overruled == []


def test_in_evaluation_answers_decide_as_in_the_official_script(path: Path) -> None:
    answers = ["context", {"text": [], "answer_start": []}, [{"text": "", "answer_start": -1}], None]
    file = write(path, [row(number, answers=value) | {"is_impossible": True} for number, value in enumerate(answers)])
    options = {"training": False, "version_2_with_negative": True}
    assert column(read(file, **options), "gold_texts") == [["context"], [], [], []]
    assert column(read(file, **options, as_published=True), "gold_texts") == [["context"], [], [""], []]


@pytest.mark.parametrize("training", [True, False])
def test_null_answers_are_unanswerable_and_a_missing_column_is_a_mistake(path: Path, training: bool) -> None:
    rows = [row("a"), row("b", answers=None), row("c")]
    del rows[2]["answers"]
    file = write(path, rows)
    assert column(read(file, training=training, version_2_with_negative=True), "gold_texts") == [["context"], [], []]
    assert "set `version_2_with_negative: true`" in error(file, training=training)
    assert "no column 'answers'" in error(write(path, rows[2:]), training=training, version_2_with_negative=True)


@pytest.mark.parametrize("training", [True, False])
def test_the_cases_of_no_answer(shared: Path, training: bool) -> None:
    options = {"training": training, "version_2_with_negative": True}
    loaded = read(str(shared / "cases/no-answer-as-empty-text.jsonl"), **options)
    assert column(loaded, "id") == ["z0", "z1", "z2", "z3", "z4"]
    assert column(loaded, "gold_texts") == [[], [], [], ["Monday"], ["March"]]
    assert column(loaded, "gold_starts") == [[], [], [], [32], [105]]
    loaded = read(str(shared / "cases/null-golds.json"), **options)
    assert (column(loaded, "id"), column(loaded, "gold_texts")) == (["a", "c"], [[], ["Monday"]])
    assert column(loaded, "gold_starts") == [[], [32]]


# Offsets in a column of their own


@pytest.mark.parametrize(
    ("answers", "start", "texts", "starts"),
    [
        ("a", 3, ["a"], [3]),
        ("a", "3", ["a"], [3]),
        ("a", 3.0, ["a"], [3]),
        ("a", None, ["a"], [None]),
        ("a", NAN, ["a"], [None]),
        ("a", "", ["a"], [None]),
        ("a", [3], ["a"], [3]),
        (["a", "b"], [3, 5], ["a", "b"], [3, 5]),
        (["a", "b"], [3, None], ["a", "b"], [3, None]),
        (["a", "b"], "[3, 5]", ["a", "b"], [3, 5]),
        (["a", "b"], "[3 5]", ["a", "b"], [3, 5]),
        (["a"], 3, ["a"], [3]),
        (["a", ""], [3, -1], ["a"], [3]),
        # What the answers state themselves wins.
        ({"text": ["a"], "answer_start": [4]}, 3, ["a"], [4]),
        ({"text": ["a"]}, 3, ["a"], [3]),
        ("", -1, [], []),
        (None, 7, [], []),
        ([], [], [], []),
    ],
)
def test_an_offset_in_a_column_of_its_own(answers: Any, start: Any, texts: Any, starts: Any, path: Path) -> None:
    rows = [row(answers=answers) | {"answer_start": start}]
    loaded = read(write(path, rows), version_2_with_negative=True)
    assert (column(loaded, "gold_texts"), column(loaded, "gold_starts")) == ([texts], [starts])
    rows = [row(answers=answers) | {"begin": start}]
    loaded = read(write(path, rows), version_2_with_negative=True, columns={"answer_start": "begin"})
    assert column(loaded, "gold_starts") == [starts]


@pytest.mark.parametrize(
    ("answers", "start", "reason"),
    [
        ("a", "x", "answer_start is 'x', not a whole number"),
        ("a", "[x", "answer_start is '[x', not a whole number"),
        ("a", [3, 5], "as many answer_start (2) as text (1) are needed"),
        (["a", "b"], 3, "as many answer_start (1) as text (2) are needed"),
    ],
)
def test_an_offset_of_a_wrong_shape(answers: Any, start: Any, reason: str, path: Path) -> None:
    file = write(path, [row(answers=answers) | {"answer_start": start}])
    assert error(file) == f"{path}, row 1 (id 'a'): answers must be {FORMS}; found {reason}"


def test_a_column_of_offsets_that_is_named_must_be_there(path: Path) -> None:
    assert error(write(path, [row()]), columns={"answer_start": "begin"}) == (
        f"{path}: no column 'begin'; the columns are id, question, context, answers; "
        "name the right one with `column_names: {answer_start: ...}`"
    )


def test_golds_need_not_be_known_of_questions_to_answer(path: Path) -> None:
    file = write(path, [row("a"), row("b", answers=None), row("c", answers=[])])
    loaded = read(file, labelled=False, training=False)
    assert column(loaded, "gold_texts") == [["context"], None, []]
    assert column(loaded, "gold_starts") == [[None], None, []]
    without = [{"question": "q?", "context": "c"}]
    loaded = read(write(path, without), labelled=False, training=False, columns={"answers": "gold"})
    assert column(loaded, "gold_texts") == [None]
    assert loaded.table.schema.equals(EXAMPLES)
    assert "no column 'answers'" in error(write(path, without))


def test_unanswerable_questions_must_be_welcome(path: Path) -> None:
    file = write(path, [row(), row("b", answers=[]), row("c", answers=[])])
    assert error(file) == (
        f"{path}, row 2 (id 'b'): unanswerable, as are 2 of 3 questions here; set `version_2_with_negative: true`"
    )
    assert len(read(file, version_2_with_negative=True).table) == 3
    assert len(read(file, select="train[:1]").table) == 1


# Texts


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("context", ["a"], "a list, not a text"),
        ("question", 3, "3, not a text"),
        ("question", "é\ud800", "a text with half a surrogate pair at character 1"),
        ("id", ["a"], "a list, not a text"),
    ],
)
def test_a_value_that_is_no_text(name: str, value: Any, reason: str, path: Path) -> None:
    file = write(path, [row("a"), row("b") | {name: value}])
    shown = value if name == "id" else "b"
    assert error(file) == f"{path}, row 2 (id {shown!r}): {name} is {reason}"


@pytest.mark.parametrize("name", ["question", "context"])
@pytest.mark.parametrize("value", [None, NAN])
def test_a_missing_text_is_dropped_in_training_and_refused_in_evaluation(name: str, value: Any, path: Path) -> None:
    file = write(path, [row("a"), row("b") | {name: value}])
    assert read(file).dropped == {f"empty {name}": 1}
    assert error(file, training=False).startswith(f"{path}, row 2 (id 'b'): {name} is n")
    assert error(file, training=False).endswith(", not a text")


def test_none_is_an_answer_where_the_context_says_so(path: Path) -> None:
    rows = [row("a", context="nan is no number", answers="nan"), row("b", answers="nan")]
    loaded = read(write(path, rows), version_2_with_negative=True)
    assert column(loaded, "gold_texts") == [["nan"], []]


def test_empty_texts_are_dropped_and_counted_in_training(path: Path) -> None:
    rows = [
        row("a", context=" "),
        row("b", question="\t\n"),
        row("c", context="kept"),
        row("d", question="", context=""),
        row("e", question="\u3000", context="another"),
    ]
    file = write(path, rows)
    loaded = read(file)
    assert column(loaded, "id") == ["c"]
    assert loaded.dropped == {"empty context": 2, "empty question": 2}
    assert loaded.table["context"].chunk(0).dictionary.to_pylist() == ["kept"]
    assert read(file, select="train[1:3]").dropped == {"empty question": 1}
    assert error(file, training=False) == (
        f"{path}, row 1 (id 'a'): the context is empty; only training data may have such rows (dropped)"
    )
    assert error(file, training=False, select="test[1:]").startswith(f"{path}, row 2 (id 'b'): the question is empty")
    assert len(read(file, training=False, select="test[2:3]").table) == 1
    file = write(path, rows[:2])
    assert error(file) == f"{path} (train): no question is left: the context or question of each is empty"


def test_each_distinct_context_is_kept_once(path: Path) -> None:
    contexts = ["x", "y", "x", "z", "y"]
    file = write(path, [row(str(number), context=context) for number, context in enumerate(contexts)])
    context = read(file).table["context"].chunk(0)
    assert (context.dictionary.to_pylist(), context.indices.to_pylist()) == (["x", "y", "z"], [0, 1, 0, 2, 1])
    context = read(file, select="train[3:]").table["context"].chunk(0)
    assert (context.dictionary.to_pylist(), context.indices.to_pylist()) == (["z", "y"], [0, 1])
    assert read([file, file]).table["context"].chunk(0).dictionary.to_pylist() == ["x", "y", "z"]


# Ids


def test_missing_ids_are_made_from_content(path: Path) -> None:
    rows = [row(None, "one?"), row("", "two?"), row(None, "one?"), row("given"), row(None, "one?")]
    loaded = read(write(path, rows))
    first, other, again, given, third = column(loaded, "id")
    assert len(first) == 24
    assert (again, given, third) == (f"{first}-2", "given", f"{first}-3")
    assert other not in (first, "")
    assert loaded.made_ids == 4
    assert read(path.as_posix(), select="train[2:4]").made_ids == 1
    for entry in rows:
        del entry["id"]
    assert column(read(write(path, rows[::-1])), "id")[-2:] == [other, f"{first}-3"]
    assert column(read(write(path, rows[1:2])), "id") == [other]


def test_a_made_id_avoids_published_ones(path: Path) -> None:
    (made,) = column(read(write(path, [row(None)])), "id")
    assert column(read(write(path, [row(None), row(made)])), "id") == [f"{made}-2", made]


def test_numbers_as_ids_become_texts(path: Path) -> None:
    assert column(read(write(path, [row(7), row(0), row("x")])), "id") == ["7", "0", "x"]


def test_an_id_that_is_mapped_must_be_there(path: Path) -> None:
    message = error(write(path, [row()]), columns={"id": "qid"})
    assert message.startswith(f"{path}: no column 'qid'; the columns are id, question, context, answers; ")
    assert error(write(path, [row()]), columns={"title": "t"}) == (
        "column_names: unknown name 'title'; the names are id, question, context, answers, answer_start"
    )


def test_duplicate_ids_in_a_file(path: Path) -> None:
    file = write(path, [row("a"), row(7), row("7")])
    assert error(file, training=False) == f"{path}: rows 2 and 3 have the same id '7'; ids must be unique within a file"


def test_repeated_ids_of_training_data_are_numbered_and_named(path: Path) -> None:
    loaded = read(write(path, [row("a"), row("a"), row("a-2"), row("b"), row(""), row("a")]))
    made = column(loaded, "id")[4]
    assert column(loaded, "id") == ["a", "a-3", "a-2", "b", made, "a-4"]
    assert loaded.renamed_ids == ["a-3", "a-4"]
    assert loaded.made_ids == 1
    assert read(str(path), select="train[:1]").renamed_ids == []
    other = write(path.with_name("y.jsonl"), [row("a")])
    assert read([str(path), other]).renamed_ids == ["x:a-3", "x:a-4"]


def test_the_case_of_repeated_ids(shared: Path) -> None:
    file = str(shared / "cases/repeated-ids.json")
    loaded = read(file)
    assert (column(loaded, "id"), loaded.renamed_ids) == (["d", "d-2"], ["d-2"])
    assert "rows 1 and 2 have the same id 'd'" in error(file, training=False)


def test_ids_that_pandas_lost_are_made(path: Path) -> None:
    assert read(write(path, [row(NAN)])).made_ids == 1


def test_files_are_concatenated_and_only_those_that_share_ids_prefixed(tmp_path: Path) -> None:
    files = [
        write(tmp_path / "en.x.jsonl", [row("a"), row("b")]),
        write(tmp_path / "other.jsonl", [row("c")]),
        write(tmp_path / "vi.x.jsonl", [row("b"), row("d")]),
    ]
    assert column(read(files), "id") == ["en.x:a", "en.x:b", "c", "vi.x:b", "vi.x:d"]
    assert column(read(files[:2]), "id") == ["a", "b", "c"]
    assert column(read(files, select="train[1:-1]"), "id") == ["en.x:b", "c", "vi.x:b"]


def test_files_of_one_name_are_distinguished_by_folder_or_number(tmp_path: Path) -> None:
    files = [write(tmp_path / folder / "x.jsonl", [row("a")]) for folder in ("en", "vi")]
    assert column(read(files), "id") == ["en/x:a", "vi/x:a"]
    assert column(read([files[0], files[0]]), "id") == ["x-1:a", "x-2:a"]


def test_a_prefix_that_makes_an_id_of_another_file_is_refused(tmp_path: Path) -> None:
    files = [write(tmp_path / f"{name}.jsonl", [row("1")]) for name in ("a", "b")]
    files.append(write(tmp_path / "c.jsonl", [row("b:1")]))
    assert error(files).startswith(f"{files[2]}, row 1 (id 'b:1'): the id occurs twice in ")


def test_a_message_names_the_row_within_its_own_file(tmp_path: Path) -> None:
    files = [write(tmp_path / "a.jsonl", [row("1"), row("2")]), write(tmp_path / "b.jsonl", [row("3"), row("4", " ")])]
    assert error(files, training=False).startswith(f"{files[1]}, row 2 (id '4'): the question is empty")


# Slices


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        (None, range(11)),
        ("train", range(11)),
        ("whatever-it-is", range(11)),
        ("validation[2:5]", range(2, 5)),
        ("train[:15%]", range(2)),  # 1.65 questions, rounded as datasets does
        ("train[-10%:]", range(10, 11)),
        ("train[:-9]", range(2)),
        ("train[9:]+train[:1]", [9, 10, 0]),
        ("train[5:100]", range(5, 11)),
    ],
)
def test_slices_count_questions(select: str | None, expected: Any, path: Path) -> None:
    file = write(path, [row(number) for number in range(11)])
    assert column(read(file, select=select), "id") == [str(number) for number in expected]


def test_slices_count_questions_of_nested_files_after_flattening(shared: Path) -> None:
    file = str(shared / "data/xquad.en.json")
    articles = json.loads(Path(file).read_text())["data"]
    ids = [entry["id"] for article in articles for part in article["paragraphs"] for entry in part["qas"]]
    assert column(read(file, select="train[:5%]"), "id") == ids[:60]  # 59.5 rounds to even
    assert column(read(file, select="train[100:103]"), "id") == ids[100:103]


def test_concatenated_real_files_with_shared_ids(shared: Path) -> None:
    files = [str(shared / f"data/xquad.{language}.json") for language in ("en", "vi")]
    names = column(read(files), "id")
    assert len(set(names)) == 2380
    assert names[0] == names[1190].replace("xquad.vi:", "xquad.en:")


@pytest.mark.parametrize(
    ("select", "reason"),
    [
        ("train[:5", "Unrecognized instruction format: train[:5"),
        ("train[a:b]", "Unrecognized instruction format: train[a:b]"),
        ("train[:200%]", "Percent slice boundaries must be > -100 and < 100."),
        ("train[:0.5%]", "Unrecognized instruction format: train[:0.5%]"),
        ("train[:5%](pct1_dropremainder)", 'Using "pct1_dropremainder" rounding on a split with less than 100'),
    ],
)
def test_a_slice_that_cannot_be_taken(select: str, reason: str, path: Path) -> None:
    message = error(write(path, [row()]), select=select)
    assert message.startswith(f"the split {select!r} cannot be selected: {reason}")
    assert message.endswith("slices are written as in train[:5%] or train[10:20]")


def test_a_question_cannot_be_selected_twice(path: Path) -> None:
    file = write(path, [row("a"), row("b"), row("c")])
    assert error(file, select="train[:2]+train[1:]") == (
        f"{path}, row 2 (id 'b'): the id occurs twice in {path} (train[:2]+train[1:]); ids must be unique"
    )


def test_an_empty_split(path: Path) -> None:
    file = write(path, [row()])
    assert error(file, select="train[5:]") == f"{path} (train[5:]): it contains no questions"
    assert error(file, select="train[1:0]") == f"{path} (train[1:0]): it contains no questions"
    for name, content in (
        ("x.json", "[]"),
        ("x.json", '{"data": []}'),
        ("x.csv", ""),
        ("x.tsv", "a\tb\n"),
        ("x.ndjson", ""),
    ):
        empty = path.with_name(name)
        empty.write_text(content)
        assert error(str(empty)) == f"{empty} (train): it contains no questions"
    assert column(read([file, write(path.with_name("y.jsonl"), [])]), "id") == ["a"]


def test_no_source_at_all() -> None:
    assert error(None) == "no data for train: name a file or a data set on the Hub"


def test_files_win_over_a_data_set(path: Path) -> None:
    assert column(read(write(path, [row()]), dataset_name="nobody/nothing"), "id") == ["a"]


# Rows of a program


def test_rows_of_a_program_are_checked_alike() -> None:
    loaded = rows_to_examples([row("a"), row("b", answers=[])], source="the maker")
    assert loaded.table.schema.equals(EXAMPLES)
    assert column(loaded, "gold_texts") == [["context"], []]
    with pytest.raises(UserError, match=r"^the maker, row 1 \(id 'a'\): question is null or missing, not a text$"):
        rows_to_examples([row(question=None)], source="the maker")
    with pytest.raises(UserError, match=r"^the maker: it contains no questions$"):
        rows_to_examples([], source="the maker")
