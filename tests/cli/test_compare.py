import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from qa_lightning.cli.main import main
from qa_lightning.runs.questions import write_table
from tests.runs.test_comparison import table_of


@pytest.fixture(autouse=True)
def _wide(monkeypatch):
    """A terminal on which no line is broken."""
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def save(tmp_path, monkeypatch):
    """Writes a run's table into a folder, by the folder's name."""
    monkeypatch.chdir(tmp_path)

    def write(name, *args, **columns):
        write_table(tmp_path / name / "per_question.parquet", table_of(*args, **columns))
        return name

    return write


def cells(output, first):
    """The cells of the rows of tables that start with this one."""
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in output.splitlines() if "│" in line]
    return [row for row in rows if row[0] == first]


def refused(capsys, *arguments):
    """The one line that a command ends in."""
    try:
        status = main(["compare", *arguments])
    except SystemExit as stopped:
        status = stopped.code
    assert status == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1
    return output.err.removesuffix("\n")


def test_two_runs(save, capsys):
    texts = {"question": ["Who came?", "Who went?", "Who stayed?", "Who slept?"], "id": ["one", "two", "three", "four"]}
    save("a", [0, 40, 50, 100], [1, 1, 2, 3], prediction=["Bo", "Al", "", "Di"], **texts)
    save("b", [100, 60, 0, 0], [1, 1, 2, 3], prediction=["Cy", "Al G", "Ed", "Flo"], **texts)
    assert main(["compare", "a", "b"]) == 0
    output = capsys.readouterr().out
    assert "A: a\nB: b\n" in output
    # By paragraph F1 differs by 120, -50 and -100; EM by 100, 0 and -100.
    assert cells(output, "f1") == [
        ["f1", "47.50", "40.00", "-7.50", "-100.00 to +60.00", "1"],
        ["f1", "2", "2", "0"],
    ]
    assert cells(output, "exact_match") == [
        ["exact_match", "25.00", "25.00", "+0.00", "-100.00 to +50.00", "1"],
        ["exact_match", "1", "1", "2"],
    ]
    assert "4 questions on 3 paragraphs." in output
    assert "p: paired exact randomisation by paragraph, all 8 swaps." in output
    assert "tests were made" not in output
    assert "Right in A only: 1 of 1" in output
    assert cells(output, "four") == [["four", "Who slept?", "gold", "Di", "Flo"]]
    assert "Right in B only: 1 of 1" in output
    assert cells(output, "one") == [["one", "Who came?", "gold", "Bo", "Cy"]]
    assert not cells(output, "two")
    assert not cells(output, "three")


def test_random_shuffles_are_counted(save, capsys):
    save("a", [0] * 20, range(20))
    save("b", [100] * 20, range(20))
    assert main(["compare", "a", "b", "--shuffles", "300", "--seed", "4"]) == 0
    output = capsys.readouterr().out
    assert "p: paired approximate randomisation by paragraph, 300 shuffles." in output
    assert cells(output, "f1")[0] == ["f1", "0.00", "100.00", "+100.00", "+100.00 to +100.00", "0.00332"]


def test_only_some_changed_questions_are_shown(save, capsys):
    save("a", [0] * 9 + [100] * 9, range(18), golds=[[{"text": "x"}, {"text": "y"}, {"text": "x"}]] * 9 + [[]] * 9)
    save("b", [100] * 9 + [0] * 9, range(18), golds=[[{"text": "x"}, {"text": "y"}, {"text": "x"}]] * 9 + [[]] * 9)
    assert main(["compare", "a", "b", "--show", "2"]) == 0
    output = capsys.readouterr().out
    assert "Right in B only: 2 of 9" in output
    assert cells(output, "q1") == [["q1", "Who?", "x | y", "answer of 0", "answer of 100"]]
    assert cells(output, "q10") == [["q10", "Who?", "(no answer)", "answer of 100", "answer of 0"]]
    assert not cells(output, "q2")
    assert not cells(output, "q11")
    # Both kinds of questions have scores of their own, and means of the kind alone.
    assert [row[:4] for row in cells(output, "HasAns_f1")] == [["HasAns_f1", "0.00", "100.00", "+100.00"]]
    assert [row[:4] for row in cells(output, "NoAns_exact")] == [["NoAns_exact", "100.00", "0.00", "-100.00"]]
    assert main(["compare", "a", "b", "--show", "0"]) == 0
    assert "Right in" not in capsys.readouterr().out


def test_later_runs_are_compared_with_the_first(save, capsys):
    # Of 16 swaps, two are as far from 0 as four gains; holm: 4 × 1/8, then 2 × 1.
    save("a", [0, 0, 0, 0], range(4))
    save("b", [100, 100, 100, 100], range(4))
    save("c", [0, 0, 0, 0], range(4))
    assert main(["compare", "a", "b", "c", "--output", "out.json"]) == 0
    output = capsys.readouterr().out
    assert "A: a\nB: b\n" in output
    assert "A: a\nB: c\n" in output
    assert "B: c\nA" not in output
    assert "4 tests were made; p (Holm) is corrected for that many." in output
    assert [row[-2:] for row in cells(output, "f1") if len(row) > 4] == [["0.125", "0.5"], ["1", "1"]]
    written = json.loads(Path("out.json").read_text(encoding="utf-8"))
    assert written["tests"] == 4
    assert [comparison["b"] for comparison in written["comparisons"]] == [["b"], ["c"]]


def test_groups_show_questions_and_seeds_apart(save, capsys):
    save("a1", [0, 0, 100, 0], [1, 1, 2, 3])
    save("a2", [100, 0, 100, 0], [1, 1, 2, 3])
    save("b1", [100, 0, 100, 100], [1, 1, 2, 3])
    save("b2", [100, 100, 100, 0], [1, 1, 2, 3])
    assert main(["compare", "a1", "a2", "--vs", "b1", "b2", "--output", "deep/out.json"]) == 0
    output = capsys.readouterr().out
    assert "A: a1, a2\nB: b1, b2\n" in output
    assert [cells(output, run)[0] for run in ("a1", "a2", "b1", "b2")] == [
        ["a1", "A", "25.00", "25.00"],
        ["a2", "A", "50.00", "50.00"],
        ["b1", "B", "75.00", "75.00"],
        ["b2", "B", "75.00", "75.00"],
    ]
    # p over seeds: t = 3 with one degree of freedom, as tests/runs/test_comparison.py has it.
    assert cells(output, "f1")[0] == [
        "f1", "37.50 ± 17.68", "75.00 ± 0.00", "+37.50", "+0.00 to +50.00", "+0.00 to +100.00", "0.5", "0.205",
    ]  # fmt: skip
    assert "p over seeds: Welch's t-test on the means of runs." in output
    assert "More often right in B: 3 of 3" in output
    assert cells(output, "q0") == [["q0", "Who?", "gold", "answer of 0 | answer of 100", "answer of 100"]]
    f1 = json.loads(Path("deep/out.json").read_text(encoding="utf-8"))["comparisons"][0]["scores"]["f1"]
    assert f1["p_over_seeds"] == pytest.approx(0.204833, abs=1e-6)
    assert (f1["a_runs"], f1["a_deviation"], f1["b_deviation"]) == ([25.0, 50.0], pytest.approx(312.5**0.5), 0.0)


def test_a_group_of_one_has_no_spread(save, capsys):
    for name, scores in (("a1", [0, 0]), ("a2", [0, 100]), ("b", [100, 100])):
        save(name, scores, [1, 2])
    assert main(["compare", "a1", "a2", "--vs", "b"]) == 0
    row = cells(capsys.readouterr().out, "f1")[0]
    assert (row[1], row[2], row[-1]) == ("25.00 ± 35.36", "100.00", "–")


def test_seeds_that_do_not_vary(save, capsys):
    for name, scores in (("a1", [0, 100]), ("a2", [100, 0]), ("b1", [100, 0]), ("b2", [100, 0])):
        save(name, scores, [1, 2])
    assert main(["compare", "a1", "a2", "--vs", "b1", "b2"]) == 0
    row = cells(capsys.readouterr().out, "f1")[0]
    assert (row[1], row[2], row[-1]) == ("50.00 ± 0.00", "50.00 ± 0.00", "–")


def test_the_file_holds_all_figures_and_all_changes(save, capsys):
    save("a", [0] * 30 + [40], range(31))
    save("b", [100] * 30 + [20], range(31))
    assert main(["compare", "a", "b", "--output", "out.json", "--seed", "2", "--shuffles", "500"]) == 0
    assert "All figures and changed questions: out.json" in capsys.readouterr().out
    written = json.loads(Path("out.json").read_text(encoding="utf-8"))
    assert (written["seed"], written["tests"]) == (2, 2)
    (comparison,) = written["comparisons"]
    assert (
        comparison["a"],
        comparison["b"],
        comparison["paragraphs"],
        comparison["permutations"],
        comparison["exact"],
    ) == (["a"], ["b"], 31, 500, False)
    f1 = comparison["scores"]["f1"]
    low, high = f1.pop("interval")
    assert low < f1["difference"] <= high
    assert f1 == {
        "questions": 31,
        "a": 40 / 31,
        "b": 3020 / 31,
        "a_runs": [40 / 31],
        "b_runs": [3020 / 31],
        "a_deviation": None,
        "b_deviation": None,
        "difference": 2980 / 31,
        "p_value": 1 / 501,
        "p_holm": 2 / 501,
        "p_over_seeds": None,
        "interval_over_runs": None,
    }
    everyone = [f"q{place}" for place in range(30)]
    assert comparison["changed"] == {
        "exact_match": {"better_in_a": [], "better_in_b": everyone},
        "f1": {"better_in_a": ["q30"], "better_in_b": everyone},
    }


def test_text_of_the_data_is_only_text(save, capsys):
    evil = {"id": ["[bold]id[/bold]", "q1"], "question": ["[red]\x1b[2J?", "Who?"]}
    save("[link]a", [0, 0], [1, 2], prediction=["\x07[/]", ""], **evil)
    save("b", [100, 0], [1, 2], prediction=["\u202eb", ""], **evil)
    assert main(["compare", "[link]a", "b"]) == 0
    output = capsys.readouterr().out
    assert "A: [link]a\n" in output
    assert cells(output, "[bold]id[/bold]") == [["[bold]id[/bold]", "[red] [2J?", "gold", "[/]", "b"]]
    assert not {"\x1b", "\x07", "\u202e"} & set(output)


def test_a_narrow_terminal_keeps_ids_whole(save, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    name = "".join(map(str, range(100, 120)))
    save("a", [0], [1], id=[name])
    save("b", [100], [1], id=[name])
    assert main(["compare", "a", "b"]) == 0
    rows = [line.split("│")[1] for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    assert name in "".join(row.strip() for row in rows)


# --- misuse


def test_fewer_than_two_runs(save, capsys):
    save("a", [0], [1])
    message = "error: two runs at least are needed to compare; see python -m qa_lightning compare --help"
    assert refused(capsys, "a") == message
    assert "required: RUN" in refused(capsys)


def test_a_run_named_twice(save, capsys):
    save("a", [0], [1])
    save("b", [0], [1])
    assert refused(capsys, "a", "b", "./a").startswith("error: a is named twice;")
    assert refused(capsys, "a", "--vs", "b", "b/../a").startswith("error: b/../a is named twice;")


@pytest.mark.parametrize(("flag", "value"), [("--shuffles", "0"), ("--seed", "-1"), ("--show", "many")])
def test_numbers_out_of_range(save, capsys, flag, value):
    least = 1 if flag == "--shuffles" else 0
    line = refused(capsys, "a", "b", f"{flag}={value}")
    assert line.startswith(f"error: argument {flag}: {value!r} is not a whole number from {least} on")


def test_a_run_without_scores_of_questions(save, capsys, tmp_path):
    save("a", [0], [1])
    (tmp_path / "b").mkdir()
    assert refused(capsys, "a", "b").startswith("error: b: no per-question scores there")
    assert refused(capsys, "a", "nowhere").startswith("error: nowhere: no such folder")
    save("b/validate", [0], [1])
    assert "validate" in refused(capsys, "a", "b")
    assert main(["compare", "a", "b/validate"]) == 0


def test_an_unreadable_table(save, capsys, tmp_path):
    save("a", [0], [1])
    save("b", [0], [1])
    (tmp_path / "b/per_question.parquet").write_bytes(b"PAR1 and nothing else")
    assert refused(capsys, "a", "b").startswith("error: b/per_question.parquet: not a table of per-question scores")


def test_runs_on_other_data(save, capsys):
    save("a", [0, 0, 0], [1, 2, 3])
    save("b", [0, 0, 0], [1, 2, 4], id=["q0", "x", "q2"])
    assert refused(capsys, "a", "b") == (
        "error: b is not on the data of a; questions: "
        "1 only in a ('q1'); 1 only in b ('x'); 1 with another text, context or golds ('q2')"
    )


def test_a_file_that_cannot_be_written(save, capsys, tmp_path):
    save("a", [0], [1])
    save("b", [0], [1])
    (tmp_path / "file").write_text("")
    assert main(["compare", "a", "b", "--output", "file/out.json"]) == 2
    assert capsys.readouterr().err.startswith("error: file/out.json: cannot be written: ")


@pytest.mark.parametrize("name", ["f1", "exact_match"])
@pytest.mark.parametrize(("value", "problem"), [(None, "is missing"), (float("nan"), "is no score from 0 to 100")])
def test_a_score_that_is_none_is_refused(save, capsys, name, value, problem):
    save("a", [0, 50], [1, 2])
    path = save("b", [0, 50], [1, 2]) + "/per_question.parquet"
    table = pq.read_table(path)
    changed = pa.array([table[name][0].as_py(), value], pa.float64())
    write_table(Path(path), table.set_column(table.column_names.index(name), name, changed))
    line = refused(capsys, "a", "b")
    assert line.startswith(f"error: {path}: row 2 (id ")
    assert f"{name} {problem}" in line


def test_rows_that_are_there_twice_are_refused(save, capsys):
    save("a", [0, 50], [1, 2])
    path = save("b", [0, 50], [1, 2]) + "/per_question.parquet"
    table = pq.read_table(path)
    write_table(Path(path), pa.concat_tables([table, table]))
    assert f"{path}: row 3 (id q0): the question is there twice" in refused(capsys, "a", "b")
