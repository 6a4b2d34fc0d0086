"""The same questions out of every kind of file, and files that cannot be read."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from qa_lightning.data.nested import HINT
from qa_lightning.data.sources import EXAMPLES, RawSplit, read_examples
from qa_lightning.data.textfiles import TextFormat, find_delimiter
from qa_lightning.utils.errors import UserError

CONTEXT = 'Ada Lovelace, born in London,\nwrote "notes" in 1843.'
OTHER = "Żółw means turtle 🐢, a\u2028slow animal."
ROWS: list[dict[str, Any]] = [
    {
        "id": "a",
        "question": "Where was Ada born?",
        "context": CONTEXT,
        "answers": {"text": ["London", "in London"], "answer_start": [22, 19]},
    },
    {
        "id": "b",
        "question": "What did she write?",
        "context": CONTEXT,
        "answers": {"text": ['"notes"'], "answer_start": [36]},
    },
    {
        "id": "c",
        "question": "Who wrote it?",
        "context": OTHER,
        "answers": {"text": [], "answer_start": []},
    },
]
ANSWERS = pa.struct([("text", pa.list_(pa.string())), ("answer_start", pa.list_(pa.int32()))])
EXPECTED = [
    ("a", "Where was Ada born?", CONTEXT, ["London", "in London"], [22, 19]),
    ("b", "What did she write?", CONTEXT, ['"notes"'], [36]),
    ("c", "Who wrote it?", OTHER, [], []),
]


def write(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def read(file: Any, **options: Any) -> RawSplit:
    return read_examples(
        **{"split": "train", "files": str(file), "training": True, "version_2_with_negative": True} | options
    )


def contents(loaded: RawSplit) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in loaded.table.to_pylist()]


def nested(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """SQuAD 2.0, a paragraph for each row."""
    questions = [
        {
            "id": row["id"],
            "question": row["question"],
            "answers": [
                {"text": text, "answer_start": start} for text, start in zip(*row["answers"].values(), strict=True)
            ],
            "is_impossible": not row["answers"]["text"],
            "plausible_answers": [{"text": "slow", "answer_start": 24}],
        }
        for row in rows
    ]
    return {
        "version": "v2.0",
        "data": [
            {
                "title": "one",
                "paragraphs": [
                    {"context": rows[0]["context"], "qas": questions[:2]},
                    {"context": "No question is asked of this one.", "qas": []},
                ],
            },
            {"title": "two", "paragraphs": [{"context": rows[2]["context"], "qas": questions[2:]}]},
        ],
    }


def csv_cell(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def separated(separator: str) -> str:
    cells = [list(ROWS[0])] + [[row["id"], row["question"], row["context"], json.dumps(row["answers"])] for row in ROWS]
    return "\n".join(separator.join(map(csv_cell, row)) for row in cells) + "\n"


def parquet(path: Path, rows: list[dict[str, Any]] = ROWS) -> Path:
    columns = {name: [row[name] for row in rows] for name in ("id", "question", "context")}
    pq.write_table(pa.table(columns | {"answers": pa.array([row["answers"] for row in rows], ANSWERS)}), path)
    return path


def datasets_csv(path: Path) -> Path:
    datasets.Dataset.from_list(ROWS).to_csv(path)
    return path


def arrow_folder(path: Path, rows: list[dict[str, Any]] = ROWS) -> Path:
    datasets.Dataset.from_list(rows).save_to_disk(path)
    return path


def arrow_folder_of_splits(path: Path) -> Path:
    splits = {"train": datasets.Dataset.from_list(ROWS), "validation": datasets.Dataset.from_list(ROWS[:1])}
    datasets.DatasetDict(splits).save_to_disk(path)
    return path


def v1(rows: list[dict[str, Any]]) -> dict[str, Any]:
    document = nested(rows)
    for article in document["data"]:
        for paragraph in article["paragraphs"]:
            for question in paragraph["qas"]:
                del question["is_impossible"], question["plausible_answers"]
    return document


def paragraphs(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [paragraph for article in nested(rows)["data"] for paragraph in article["paragraphs"]]


def packed(path: Path, content: str) -> Path:
    path.write_bytes(gzip.compress(content.encode()))
    return path


def encoded(path: Path, content: str, encoding: str) -> Path:
    path.write_bytes(content.encode(encoding))
    return path


def printed(path: Path, rows: list[dict[str, Any]] = ROWS, **options: Any) -> Path:
    """What pandas prints of a data frame whose answers are objects of arrays."""
    frame = pandas.DataFrame(rows)
    frame["answers"] = [{name: np.array(values) for name, values in answers.items()} for answers in frame["answers"]]
    frame.to_csv(path, **{"index": False} | options)
    return path


def columns_of(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def table(path: Path, rows: list[dict[str, Any]]) -> Path:
    pandas.DataFrame(rows).to_parquet(path)
    return path


def flattened(path: Path) -> Path:
    datasets.Dataset.from_list(ROWS).flatten().to_parquet(path)
    return path


def as_text(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with their answers as JSON, as they are once a table was written as CSV."""
    return [row | {"answers": json.dumps(row["answers"], ensure_ascii=False)} for row in rows]


SINGULAR = json.loads(json.dumps(nested(ROWS)).replace('"answers"', '"answer"'))
LINES = "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS)

SOURCES = {
    "data without paragraphs": lambda folder: write(folder / "x.json", {"data": paragraphs(ROWS)}),
    "bare paragraphs": lambda folder: write(folder / "x.json", paragraphs(ROWS)),
    "one article": lambda folder: write(folder / "x.json", {"title": "x", "paragraphs": paragraphs(ROWS)}),
    "paragraphs in lines": lambda folder: write(folder / "x.jsonl", "\n".join(map(json.dumps, paragraphs(ROWS)))),
    "a document in one line": lambda folder: write(folder / "x.jsonl", json.dumps(nested(ROWS))),
    "answer for answers": lambda folder: write(folder / "x.json", SINGULAR),
    "columns": lambda folder: write(folder / "x.json", columns_of(ROWS)),
    "json lines under the name of json": lambda folder: write(folder / "x.json", LINES),
    "articles in parquet": lambda folder: table(folder / "x.parquet", nested(ROWS)["data"]),
    "paragraphs in an arrow folder": lambda folder: arrow_folder(folder / "x", paragraphs(ROWS)),
    "flattened by datasets": lambda folder: flattened(folder / "x.parquet"),
    "answers as text in parquet": lambda folder: table(folder / "x.parquet", as_text(ROWS)),
    "answers as text in json lines": lambda folder: write(
        folder / "x.jsonl", "\n".join(map(json.dumps, as_text(ROWS)))
    ),
    "columns by pandas": lambda folder: write(folder / "x.json", pandas.DataFrame(ROWS).to_json()),
    "json, packed": lambda folder: packed(folder / "x.json.gz", json.dumps(nested(ROWS))),
    "json lines, packed": lambda folder: packed(folder / "x.v2.JSONL.GZ", LINES),
    "csv, packed": lambda folder: packed(folder / "x.csv.gz", separated(",")),
    "tsv, packed": lambda folder: packed(folder / "x.tsv.gz", separated("\t")),
    "packed under another name": lambda folder: packed(folder / "x.json", json.dumps(ROWS)),
    "not packed": lambda folder: write(folder / "x.json.gz", ROWS),
    "csv with semicolons": lambda folder: write(folder / "x.csv", separated(";")),
    "csv with tabs": lambda folder: write(folder / "x.csv", separated("\t")),
    "tsv with commas": lambda folder: write(folder / "x.tsv", separated(",")),
    "csv with bars and a mark": lambda folder: write(folder / "x.csv", "\ufeff" + separated("|")),
    "csv that states its delimiter": lambda folder: write(folder / "x.csv", "sep=:\r\n" + separated(":")),
    "csv with pandas' index": lambda folder: printed(folder / "x.csv", index=True),
    "csv of excel": lambda folder: encoded(folder / "x.csv", separated("\t"), "utf-16"),
    "json lines in UTF-16": lambda folder: encoded(folder / "x.jsonl", LINES, "utf-16"),
    "json in UTF-16 without a mark": lambda folder: encoded(folder / "x.json", json.dumps(ROWS), "utf-16-be"),
    "json in UTF-32": lambda folder: encoded(folder / "x.json", json.dumps(nested(ROWS)), "utf-32"),
    "csv by pandas": lambda folder: printed(folder / "x.csv"),
    "tsv by pandas, packed": lambda folder: printed(folder / "x.tsv.gz", sep="\t"),
    "csv by datasets": lambda folder: datasets_csv(folder / "x.csv"),
    "squad v2": lambda folder: write(folder / "x.json", nested(ROWS)),
    "squad v1": lambda folder: write(folder / "x.json", v1(ROWS)),
    "a byte order mark": lambda folder: write(folder / "x.json", "\ufeff" + json.dumps(nested(ROWS))),
    "array": lambda folder: write(folder / "x.json", ROWS),
    "data array": lambda folder: write(folder / "x.json", {"data": ROWS}),
    "json lines": lambda folder: write(
        folder / "x.jsonl", "\n\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS)
    ),
    "articles in lines": lambda folder: write(
        folder / "x.ndjson", "\r\n".join(json.dumps(article) for article in nested(ROWS)["data"])
    ),
    "csv": lambda folder: write(folder / "x.csv", separated(",")),
    "tsv": lambda folder: write(folder / "x.TSV", separated("\t")),
    "parquet": lambda folder: parquet(folder / "x.parquet"),
    "arrow folder": lambda folder: arrow_folder(folder / "x"),
    "arrow folder of splits": lambda folder: arrow_folder_of_splits(folder / "x"),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_every_format_gives_the_same_table(kind: str, tmp_path: Path) -> None:
    loaded = read(SOURCES[kind](tmp_path))
    assert contents(loaded) == EXPECTED
    assert loaded.table.schema.equals(EXAMPLES, check_metadata=True)
    assert [column.num_chunks for column in loaded.table.columns] == [1] * 5
    assert loaded.table["context"].chunk(0).dictionary.to_pylist() == [CONTEXT, OTHER]
    assert (loaded.dropped, loaded.made_ids) == ({}, 0)


def test_mrqas_lines(tmp_path: Path) -> None:
    lines = [{"header": {"dataset": "X", "split": "train"}}]
    lines += [
        {"qid": row["id"], "question": row["question"], "context": row["context"], "answers": row["answers"]["text"]}
        for row in ROWS
    ]
    loaded = read(write(tmp_path / "x.jsonl", "\n".join(map(json.dumps, lines))))
    assert loaded.made_ids == 0
    assert loaded.table["id"].to_pylist() == [row["id"] for row in ROWS]
    assert loaded.table["gold_texts"].to_pylist() == [row["answers"]["text"] for row in ROWS]


def test_a_paragraph_without_a_context_names_its_keys(tmp_path: Path) -> None:
    other = [{"context_text": paragraph["context"], "qas": paragraph["qas"]} for paragraph in paragraphs(ROWS)]
    assert error(write(tmp_path / "x.json", {"data": other})) == (
        f"{tmp_path}/x.json, paragraph 1: has no 'context', its keys are context_text, qas; name the right one with "
        "`column_names: {context: ...}`"
    )


def test_answers_under_either_name_question_by_question(tmp_path: Path) -> None:
    rows = [ROWS[0], {("answer" if name == "answers" else name): value for name, value in ROWS[1].items()}, ROWS[2]]
    assert contents(read(write(tmp_path / "x.json", rows))) == EXPECTED
    # Unless a column is named.
    message = error(write(tmp_path / "y.json", SINGULAR), columns={"answers": "gold"})
    assert message.startswith(f"{tmp_path}/y.json: no column 'gold'; the columns are ")


@pytest.mark.parametrize(
    "name",
    ["bare-paragraph-list.json", "data-without-paragraphs.json"],
)
def test_the_cases_of_paragraphs_without_articles(name: str, shared: Path) -> None:
    first, second = contents(read(shared / "cases" / name))
    assert first[0] == "00001"
    assert first[1] == "When does the ferry leave?"
    assert first[2].startswith("The ferry Marigold sails")
    assert first[3:] == (["07:15"], [40])
    assert (second[0], second[3]) == ("00002", [])


def test_the_cases_of_files_that_people_have(shared: Path) -> None:
    assert [row[3:] for row in contents(read(shared / "cases/float-start.json"))] == [(["Monday"], [32])]
    assert [(row[0], *row[3:]) for row in contents(read(shared / "cases/squad.json.gz"))] == [
        ("m1", ["1871"], [44]),
        ("m2", ["rye"], [26]),
    ]
    context = "The mill at Dürrow grinds rye. It opened in 1871 and closed in 1954."
    assert contents(read(shared / "cases/semicolon.csv")) == [("m1", "When did it open?", context, ["1871"], [None])]
    loaded = read(shared / "cases/flat-answer-columns.csv", columns={"answers": "answer_text"})
    assert [row[3:] for row in contents(loaded)] == [(["1871"], [55])]


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "json", "parquet", "folder", "hub"])
def test_texts_and_offsets_in_columns_of_their_own(kind: str, tmp_path: Path) -> None:
    rows = [{"q": "q?", "context": "a cat and a cat", "answer_text": "cat", "answer_start": 12}]
    rows.append(rows[0] | {"answer_start": 2})
    frame = pandas.DataFrame(rows)
    path = tmp_path / f"x.{kind}"
    if kind in ("csv", "tsv"):
        frame.to_csv(path, index=False, sep="," if kind == "csv" else "\t")
    elif kind in ("json", "jsonl"):
        frame.to_json(path, orient="records", lines=kind == "jsonl")
    elif kind == "parquet":
        frame.to_parquet(path)
    elif kind == "folder":
        datasets.Dataset.from_list(rows).save_to_disk(path)
    else:
        path.mkdir()
        frame.to_parquet(path / "train.parquet")
    where = {"files": None, "dataset_name": str(path), "cache_dir": tmp_path / "cache"} if kind == "hub" else {}
    columns = {"question": "q", "answers": "answer_text"}
    loaded = read(path, columns=columns, **where)
    assert [row[3:] for row in contents(loaded)] == [(["cat"], [12]), (["cat"], [2])]


def test_nulls_of_parquet_are_no_answers(tmp_path: Path) -> None:
    frame = pandas.DataFrame([row | {"answer_start": None} for row in ROWS])
    frame.loc[1, "answers"] = None
    frame["answer_start"] = frame["answer_start"].astype("float64")
    frame.to_parquet(tmp_path / "x.parquet")
    assert [row[3] for row in contents(read(tmp_path / "x.parquet"))] == [["London", "in London"], [], []]


# How text files are written


def test_an_encoding_that_is_named(tmp_path: Path) -> None:
    rows = [{"id": "é", "question": "Où?", "context": "à Orléans", "answers": "Orléans"}]
    for name, text in (("x.json", json.dumps(rows, ensure_ascii=False)), ("x.csv", "id;question;context;answers\n")):
        path = encoded(tmp_path / name, text + ("" if name == "x.json" else "é;Où?;à Orléans;Orléans\n"), "cp1252")
        loaded = read(path, text_format=TextFormat(encoding="cp1252"))
        assert contents(loaded) == [("é", "Où?", "à Orléans", ["Orléans"], [None])]
        assert "not UTF-8 at byte" in error(path)
        assert error(path, text_format=TextFormat(encoding="ascii")).endswith(
            "; name the file's own `encoding`, or save it as UTF-8"
        )
    # What a file shows itself is certain.
    path = write(tmp_path / "y.json", "\ufeff" + json.dumps(rows, ensure_ascii=False))
    assert contents(read(path, text_format=TextFormat(encoding="latin-1")))[0][0] == "é"


def test_a_delimiter_that_is_named_or_cannot_be_found(tmp_path: Path) -> None:
    text = "id~question~context~answers\n1~q?~a, b~b\n"
    path = write(tmp_path / "x.csv", text)
    assert contents(read(path, text_format=TextFormat(delimiter="~"))) == [("1", "q?", "a, b", ["b"], [None])]
    # Columns that are wanted under other names show it, too.
    path = write(tmp_path / "y.csv", "a;b, c;d\nq?;x, y;y\n")
    assert contents(read(path, columns={"question": "a", "context": "b, c", "answers": "d"}))[0][1:] == (
        "q?",
        "x, y",
        ["y"],
        [None],
    )
    # Where none of them is as wanted, the message can name the columns that are there.
    unknown = write(tmp_path / "z.csv", "Nr;Passage Text;Query\n1;x, y;q?\n")
    assert find_delimiter(unknown.read_text(), ("question", "context"), ",") == ";"
    with pytest.raises(UserError, match=r"z\.csv: no column 'question'; the columns are Nr, Passage Text, Query;"):
        read_examples(split="train", files=str(unknown), training=True)
    for delimiter in ("", ";;", "\n", '"', "§"):
        with pytest.raises(UserError, match=r"^csv\.delimiter must be one ASCII character"):
            TextFormat(delimiter=delimiter)
    for encoding in ("utf-9", "base64", "a\0b"):
        with pytest.raises(UserError, match=r"^encoding: Python has no text encoding"):
            TextFormat(encoding=encoding)


def test_a_damaged_gzip_file(tmp_path: Path) -> None:
    path = packed(tmp_path / "x.json.gz", json.dumps(ROWS))
    whole = path.read_bytes()
    for content in (whole[:-9], whole[:20] + b"xxxx" + whole[24:], whole[:2]):
        path.write_bytes(content)
        assert error(path).startswith(f"{path}: a damaged gzip file: ")


def test_what_is_packed_and_no_text(tmp_path: Path) -> None:
    for name in ("x.parquet.gz", "x.gz", "x.zip"):
        assert error(write(tmp_path / name, "")).startswith(f"{tmp_path}/{name}: unknown kind of file; the ending must")


@pytest.mark.parametrize(
    ("name", "content", "inside"),
    [
        ("x.json", [{"context": "c", "questions": [{"question": "q?"}]}], "questions"),
        ("x.jsonl", '{"item": {"question": "q?", "context": "c"}}', "item"),
        ("x.parquet", [{"item": {"question": "q?", "context": "c"}}], "item"),
    ],
)
def test_a_nesting_that_is_not_known_is_no_matter_of_names(
    name: str, content: Any, inside: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    if name.endswith(".parquet"):
        pandas.DataFrame(content).to_parquet(path)
    else:
        write(path, content)
    message = error(path)
    assert message.endswith(f"; the questions may stand inside of {inside}, which is not read: {HINT}")
    assert "column_names" not in message


def test_every_file_of_real_data_is_read_whole(shared: Path) -> None:
    counts = {"xquad.en.v2.dev": 438, "xquad.hi": 1190, "policyqa.dev": 1534, "squad-pt.train": 1987}
    for name, count in counts.items():
        loaded = read(shared / f"data/{name}.json")
        assert len(loaded.table) == count
        assert loaded.made_ids == 0


def test_a_folder_of_splits_gives_the_split_that_is_asked_for(tmp_path: Path) -> None:
    folder = arrow_folder_of_splits(tmp_path / "x")
    assert contents(read(folder, split="validation")) == EXPECTED[:1]
    assert contents(read(folder, select="train[1:]")) == EXPECTED[1:]
    with pytest.raises(UserError, match=r"x: holds no split 'test'; its splits are train, validation$"):
        read(folder, split="test")


def test_a_sliced_arrow_folder_keeps_its_order(tmp_path: Path) -> None:
    datasets.Dataset.from_list(ROWS).select([2, 0]).save_to_disk(tmp_path / "x")
    assert contents(read(tmp_path / "x")) == [EXPECTED[2], EXPECTED[0]]


def test_csv_cells_are_texts_as_they_are(tmp_path: Path) -> None:
    path = write(
        tmp_path / "x.csv",
        "id,question,context,answers,is_impossible\n"
        "007,NA,The [1] is null,[1],\n"
        "8,null,It is 3.0,,false\n"
        '9,x?,It is so,"{""text"": ""so"", ""answer_start"": 6}",0\n'
        '10,x?,It is so,"[{""text"": ""It"", ""answer_start"": 0}, {""text"": ""so""}]",\n'
        "11,x?,It is so,so,TRUE\n",
    )
    assert contents(read(path)) == [
        ("007", "NA", "The [1] is null", ["[1]"], [None]),
        ("8", "null", "It is 3.0", [], []),
        ("9", "x?", "It is so", ["so"], [6]),
        ("10", "x?", "It is so", ["It", "so"], [0, None]),
        ("11", "x?", "It is so", [], []),
    ]


def test_a_csv_row_may_be_longer_than_a_block_of_arrows(tmp_path: Path) -> None:
    long = "word " * 500_000
    path = write(tmp_path / "x.csv", f"question,context,answers\nq?,short,short\nq?,{long},word\n")
    assert [row[2] for row in contents(read(path))] == ["short", long]


def test_columns_that_are_not_wanted_are_not_read(tmp_path: Path) -> None:
    """Whatever they hold, here a number that no text column could take."""
    path = write(tmp_path / "x.jsonl", "\n".join(json.dumps(row | {"extra": 1, "row": [None]}) for row in ROWS))
    assert contents(read(path)) == EXPECTED


@pytest.mark.parametrize("kind", ["json", "csv", "parquet"])
def test_mapped_columns(kind: str, tmp_path: Path) -> None:
    rows = [
        {"qid": row["id"], "query": row["question"], "passage": row["context"], "context": "not this"} for row in ROWS
    ]
    for row in rows:
        row["gold"] = "London" if row["qid"] == "a" else ""
    path = tmp_path / f"x.{kind}"
    if kind == "json":
        write(path, rows)
    elif kind == "csv":
        write(path, "\n".join(",".join(map(csv_cell, row)) for row in [list(rows[0]), *(r.values() for r in rows)]))
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    columns = {"id": "qid", "question": "query", "context": "passage", "answers": "gold"}
    golds = [(["London"], [None]), ([], []), ([], [])]
    expected = [(*row[:3], *gold) for row, gold in zip(EXPECTED, golds, strict=True)]
    assert contents(read(path, columns=columns)) == expected


def test_nested_json_is_mapped_too(tmp_path: Path) -> None:
    text = json.dumps(nested(ROWS)).replace('"context"', '"passage"').replace('"id"', '"qid"')
    assert contents(read(write(tmp_path / "x.json", text), columns={"context": "passage", "id": "qid"})) == EXPECTED


def error(file: Any, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        read(file, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_missing_file(tmp_path: Path) -> None:
    assert error(tmp_path / "x.json") == f"{tmp_path}/x.json: no such file"
    assert error("a.json,b.json") == "a.json,b.json: no such file; several files are a list: '[a.json, b.json]'"


def test_an_unknown_ending(tmp_path: Path) -> None:
    message = error(write(tmp_path / "x.txt", "..."))
    assert message.startswith(f"{tmp_path}/x.txt: unknown kind of file; the ending must be one of .json, .jsonl,")


def test_malformed_json_is_refused_with_its_position(tmp_path: Path) -> None:
    path = write(tmp_path / "x.json", '{"data": [\n  {"paragraphs": ]\n}')
    assert error(path) == f"{path}: malformed JSON at line 2, column 18: Expecting value"
    path = write(tmp_path / "y.json", '{\n  "data": []\n}\n}')
    assert error(path) == f"{path}: malformed JSON at line 4, column 1: Extra data"
    path = write(tmp_path / "l.json", json.dumps(ROWS[0]) + '\n{"id": "b", "question": x}\n')
    assert error(path) == f"{path}: malformed JSON at line 2, column 25: Expecting value"
    lines = write(tmp_path / "x.jsonl", json.dumps(ROWS[0]) + '\n\n{"id": "b", "question": x}\n')
    assert error(lines) == f"{lines}: malformed JSON at line 3, column 25: Expecting value"
    lines = write(tmp_path / "y.jsonl", json.dumps(ROWS, indent=1))
    assert error(lines).endswith("line 1, column 2: Expecting value; a JSON document of several lines ends in .json")
    assert error(write(tmp_path / "z.json", "[" * 100_000)).startswith(f"{tmp_path}/z.json: cannot be read: ")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.json", '{"rows": []}', f": expected a list of rows, or an object with `data`; its keys are rows; {HINT}"),
        ("x.json", "{}", f": expected a list of rows, or an object with `data`; {HINT}"),
        ("x.json", '{"data": {"rows": []}}', ": expected a list of objects, found an object"),
        ("x.json", '"text"', ": expected a list of objects, found a text"),
        ("x.json", '{"data": [{}, 7]}', ", entry 2: expected an object, found 7"),
        ("x.json", '[{"paragraphs": {}}]', ", article 1, paragraphs: expected a list of objects, found an object"),
        (
            "x.json",
            '[{"paragraphs": []}, {"paragraphs": [{"context": "c", "qas": []}, {"context": "c"}]}]',
            f", article 2, paragraph 2: has no `qas`, its keys are context; {HINT}",
        ),
        (
            "x.json",
            '[{"context": "c", "qas": null}]',
            ", paragraph 1, qas: expected a list of objects, found null or missing",
        ),
        ("x.jsonl", '{"id": "a"}\n[]\n', ", line 2: expected an object, found a list"),
    ],
)
def test_json_of_another_shape(name: str, content: str, message: str, tmp_path: Path) -> None:
    path = write(tmp_path / name, content)
    assert error(path) == f"{path}{message}"


def test_a_truncated_parquet(tmp_path: Path) -> None:
    path = parquet(tmp_path / "x.parquet")
    path.write_bytes(path.read_bytes()[:-20])
    assert error(path).startswith(f"{path}: cannot be read: Parquet magic bytes not found in footer.")


def test_a_broken_arrow_folder(tmp_path: Path) -> None:
    folder = arrow_folder(tmp_path / "x")
    file = next(folder.glob("*.arrow"))
    file.write_bytes(file.read_bytes()[:100])
    assert error(folder).startswith(f"{folder}: cannot be read: ")
    (tmp_path / "empty").mkdir()
    assert "neither a `Dataset` directory nor a `DatasetDict`" in error(tmp_path / "empty")


def test_a_csv_row_of_another_length_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", "question,context,answers\na,b,c\nd,e\n")
    assert error(path) == f"{path}: cannot be read: CSV parse error: Row #3: Expected 3 columns, got 2: d,e"


@pytest.mark.parametrize("name", ["x.json", "x.jsonl", "x.csv", "x.tsv"])
def test_a_file_that_is_not_utf_8(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes('{"é'.encode("latin-1"))
    assert error(path) == (
        f"{path}: not UTF-8 at byte 2; save the file as UTF-8, or name its encoding, such as `encoding: cp1252`"
    )


@pytest.mark.parametrize("name", ["x.json", "x.csv", "x.parquet", "x"])
def test_a_missing_column_is_named_with_those_that_are_there(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    rows = [{"id": "a", "query": "q?", "context": "c", "answers": "c"}]
    if name == "x.json":
        write(path, rows)
    elif name == "x.csv":
        write(path, "id,query,context,answers\na,q?,c,c\n")
    elif name == "x.parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        arrow_folder(path, rows)
    assert error(path) == (
        f"{path}: no column 'question'; the columns are id, query, context, answers; "
        "name the right one with `column_names: {question: ...}`"
    )


def hub_like(folder: Path) -> Path:
    """A local stand-in: a folder of Parquet files loads through the same call as a data set of the Hub."""
    folder.mkdir()
    parquet(folder / "train.parquet")
    parquet(folder / "validation.parquet", ROWS[:1])
    return folder


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", "http://127.0.0.1:9")


@pytest.mark.usefixtures("unreachable")
def test_a_data_set_by_name(tmp_path: Path) -> None:
    def load(**options: Any) -> list[tuple[Any, ...]]:
        name = str(tmp_path / "set")
        return contents(read(None, files=None, dataset_name=name, cache_dir=tmp_path / "cache", **options))

    hub_like(tmp_path / "set")
    assert load() == EXPECTED
    assert load(split="validation") == EXPECTED[:1]
    assert load(split="validation", select="train[-1:]") == EXPECTED[2:]
    with pytest.raises(UserError, match=r"set: the split 'test' could not be loaded: Unknown split \"test\"\."):
        load(split="test")


@pytest.mark.usefixtures("unreachable")
def test_a_configuration_on_the_branch_of_parquet_copies(tmp_path: Path) -> None:
    """There, configurations are folders of splits; asked for by name they are not found, or splits get mixed."""
    for configuration, rows in (("one", ROWS), ("two", ROWS[:1])):
        for split in ("train", "validation"):
            (tmp_path / "set" / configuration / split).mkdir(parents=True)
            parquet(tmp_path / "set" / configuration / split / "0000.parquet", rows if split == "train" else ROWS[1:2])

    def load(configuration: str, split: str) -> list[tuple[Any, ...]]:
        where = {"dataset_name": str(tmp_path / "set"), "cache_dir": tmp_path / "cache"}
        branch = {"dataset_config_name": configuration, "dataset_revision": "refs/convert/parquet"}
        return contents(read(None, files=None, split=split, **where, **branch))

    assert load("one", "train") == EXPECTED
    assert load("two", "train") == EXPECTED[:1]
    assert load("two", "validation") == EXPECTED[1:2]


@pytest.mark.usefixtures("unreachable")
def test_a_hub_name_that_cannot_be_reached(tmp_path: Path) -> None:
    offline = datasets.config.HF_HUB_OFFLINE
    message = error(None, files=None, dataset_name="nobody/nothing", cache_dir=tmp_path)
    assert message.startswith("nobody/nothing: the split 'train' could not be loaded: the Hub cannot be reached (")
    assert message.endswith(
        "local files work offline: train_file, validation_file, test_file, predict_file, and --data_dir of evaluate"
    )
    assert datasets.config.HF_HUB_OFFLINE is offline


@pytest.mark.usefixtures("unreachable")
def test_what_is_in_the_cache_needs_no_hub(tmp_path: Path) -> None:
    datasets.load_dataset(str(hub_like(tmp_path / "facts")), cache_dir=str(tmp_path / "cache"))
    (written,) = (tmp_path / "cache/facts").glob("*/*/*/dataset_info.json")
    place = tmp_path / "cache/someone___facts/default/0.0.0/abc"
    place.parent.mkdir(parents=True)
    written.parent.rename(place)
    loaded = read(None, files=None, dataset_name="someone/facts", cache_dir=tmp_path / "cache")
    assert contents(loaded) == EXPECTED
