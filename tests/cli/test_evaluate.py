"""The verb that scores models on suites: exact figures, those of ``score``, going on, and mistakes."""

from __future__ import annotations

import json
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from qa_lightning.cli.main import main
from qa_lightning.reader.reader import Reader
from qa_lightning.suites.suite_file import read_suite
from tests import forked
from tests.cli.mistakes import error_of
from tests.conftest import ROOT
from tests.ensembling.test_soup import SETTINGS
from tests.reader.stand_ins import make_reader
from tests.suites.made import ENGLISH, SPANISH, write_set
from tests.tiny import tiny_folder, tiny_tokenizer, write_squad

SUITE = "title: Two languages\nlanguages: [en, es]\nfile: '{language}.json'\n"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of ours that may leave questions unanswered."""
    folder = tiny_folder(tmp_path_factory.mktemp("models") / "tiny")
    (folder / "qa_lightning.json").write_text(json.dumps(SETTINGS | {"version_2_with_negative": True}))
    return folder


@pytest.fixture(scope="module")
def words() -> Reader:
    """Answers "ada", or "grace" where there is no "ada"."""
    return make_reader(tiny_tokenizer(), {"ada": (9.0, 9.0), "grace": (5.0, 5.0)})


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, words: Reader) -> list[str]:
    """Has every model answer as `words`; the list gets the name of each that is loaded."""
    loaded: list[str] = []

    def load(name: str, **_: Any) -> Reader:
        loaded.append(Path(name).name)
        return words

    monkeypatch.setattr(Reader, "from_pretrained", load)
    return loaded


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a suite of two languages and its files."""
    monkeypatch.chdir(tmp_path)
    write_set(tmp_path / "en.json", ENGLISH)
    write_set(tmp_path / "es.json", SPANISH)
    (tmp_path / "two.yaml").write_text(SUITE)
    return tmp_path


def evaluate(*flags: object, suite: str = "two.yaml") -> int:
    return main(["evaluate", "--suite", suite, *map(str, flags)])


def results(folder: Path | str = "evaluations/two") -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(Path(folder, "results.parquet")).to_pylist()
    return rows


def figures(rows: list[dict[str, Any]], model: str = "tiny") -> dict[str, tuple[float, float]]:
    return {row["name"]: (row["exact_match"], row["f1"]) for row in rows if row["model"] == model}


def test_figures_worked_by_hand(tiny: Path, asked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate("--model", tiny) == 0
    written = capsys.readouterr()
    found = figures(results())
    assert found["en"] == pytest.approx((200 / 3, 200 / 3), abs=1e-9)
    assert found["es"] == pytest.approx((200 / 3, 800 / 9), abs=1e-9)
    assert found["average"] == pytest.approx((200 / 3, 700 / 9), abs=1e-9)
    assert written.out.startswith(
        "tiny, en: EM 66.67, F1 66.67 (3 questions)\ntiny, es: EM 66.67, F1 88.89 (3 questions)\n"
    )
    assert re.search(r"│ average +│ +6 │ 66\.67 │ 77\.78 │ +\d+\.\d – \d+\.\d │", written.out)
    assert written.err == ""
    assert asked == ["tiny"]
    assert "| tiny | 66.7 / 66.7 | 88.9 / 66.7 | 77.8 / 66.7 |" in Path("evaluations/two/results.md").read_text()
    assert r"tiny & 66.7 / 66.7 & 88.9 / 66.7 & 77.8 / 66.7 \\" in Path("evaluations/two/results.tex").read_text()
    page = Path("evaluations/two/results.html").read_text(encoding="utf-8")
    assert '<h1 dir="auto">Two languages</h1>' in page
    assert page.count(">77.8</td>") == 1


def test_the_table_says_what_each_row_is(tiny: Path, asked: list[str]) -> None:
    assert evaluate("--model", tiny) == 0
    rows = results()
    assert [(row["kind"], row["language"], row["rule"], row["questions"], row["sets"]) for row in rows] == [
        ("set", "en", "MLQA (en)", 3, ["en"]),
        ("set", "es", "MLQA (es)", 3, ["es"]),
        ("average", "", "", 6, ["en", "es"]),
    ]
    assert all(row["f1_low"] <= row["f1"] <= row["f1_high"] for row in rows)
    assert [row["HasAns_total"] for row in rows] == [3, 3, None]


@pytest.mark.parametrize(("rule", "f1"), [("squad_v1", 200 / 3), ("squad_v2", 200 / 3), ("mlqa", 800 / 9)])
def test_another_rule_for_all_sets(tiny: Path, asked: list[str], rule: str, f1: float) -> None:
    """SQuAD's rules know no Spanish articles: "la Ada" and "una Grace" are two words each."""
    assert evaluate("--model", tiny, "--rule", rule) == 0
    assert figures(results())["es"][1] == pytest.approx(f1, abs=1e-9)


@pytest.mark.parametrize("null_allowed", [False, True])
def test_figures_are_those_of_score(tmp_path: Path, tiny: Path, null_allowed: bool) -> None:
    """A real model, each set by its own rule, and all figures to the last digit."""
    model = shutil.copytree(tiny, tmp_path / "model")
    (model / "qa_lightning.json").write_text(json.dumps(SETTINGS | {"version_2_with_negative": null_allowed}))
    write_squad(tmp_path / "null.json", impossible=True)
    Path("rules.yaml").write_text(
        "sets:\n  en: {file: en.json, language: en}\n  es: {file: es.json, rule: squad_v1}\n  unanswerable: null.json\n"
    )
    assert evaluate("--model", model, suite="rules.yaml") == 0
    rows = {row["name"]: row for row in results("evaluations/rules")}
    for name, file, flags in (
        ("en", "en.json", ["--language", "en"]),
        ("es", "es.json", ["--squad_v1"]),
        ("unanswerable", "null.json", []),
    ):
        assert main(["score", "--data", file, "--model", str(model), "--output", "score.json", *flags]) == 0
        wanted = json.loads(Path("score.json").read_text())
        kept = json.loads(Path(f"evaluations/rules/model/{name}/evaluation.json").read_text())["figures"]
        assert kept == pytest.approx(wanted, rel=0, abs=1e-9)
        shown = {"exact": "exact_match", "total": "questions"}
        assert {key: rows[name][shown.get(key, key)] for key in wanted} == pytest.approx(wanted, rel=0, abs=1e-9)
    assert ("best_f1" in kept) == null_allowed


@pytest.mark.slow
def test_figures_on_real_data_are_those_of_score(tmp_path: Path, shared: Path) -> None:
    folder, model = tmp_path / "data", str(shared / "models/tiny-bert-qa")
    folder.mkdir()
    for code in ("en", "zh"):
        articles = json.loads((shared / f"data/xquad.{code}.json").read_text(encoding="utf-8"))["data"][:3]
        (folder / f"xquad.{code}.json").write_text(json.dumps({"version": "1.1", "data": articles}), encoding="utf-8")
    flags = ["--data_dir", "data", "--skip_missing", "--output", "out"]
    assert evaluate("--model", model, *flags, suite="xquad") == 0
    for row in results("out")[:2]:
        data = f"data/xquad.{row['name']}.json"
        assert main(["score", "--data", data, "--model", model, "--squad_v1", "--output", "score.json"]) == 0
        wanted = json.loads(Path("score.json").read_text())
        assert (row["exact_match"], row["f1"]) == pytest.approx((wanted["exact"], wanted["f1"]), rel=0, abs=1e-9)


def test_a_set_is_asked_once(tiny: Path, asked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate("--model", tiny, "--sets", "en") == 0
    assert evaluate("--model", tiny) == 0
    before = results()
    assert asked == ["tiny", "tiny"]
    capsys.readouterr()
    assert evaluate("--model", tiny) == 0
    assert asked == ["tiny", "tiny"]
    assert "tiny, en: EM 66.67, F1 66.67 (3 questions, kept from before)\n" in capsys.readouterr().out
    assert results() == before


def test_what_has_changed_is_asked_again(
    tmp_path: Path, tiny: Path, asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    model = shutil.copytree(tiny, tmp_path / "model")

    def asked_again() -> list[str]:
        capsys.readouterr()
        assert evaluate("--model", model) == 0
        return [line[7:9] for line in capsys.readouterr().out.splitlines() if line.endswith("(3 questions)")]

    assert asked_again() == ["en", "es"]
    assert asked_again() == []
    write_set(tmp_path / "es.json", {**SPANISH, "Grace lived in Paris.": {"¿Quién?": ["Paris"]}})
    assert asked_again() == ["es"]
    (tmp_path / "two.yaml").write_text(SUITE.replace("es]", "es]\nrule: squad_v1"))
    assert asked_again() == ["en", "es"]
    (model / "config.json").write_text((model / "config.json").read_text() + "\n")
    assert asked_again() == ["en", "es"]
    Path("evaluations/two/model/en/per_question.parquet").unlink()
    assert asked_again() == ["en"]


def test_an_ensemble_may_name_runs(
    tmp_path: Path, tiny: Path, asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    best = shutil.copytree(tiny, tmp_path / "run/best_model")
    (tmp_path / "run/config.yaml").write_text("{}")
    (tmp_path / "both").mkdir()
    (tmp_path / "both/ensemble.json").write_text(json.dumps({"members": [{"model": "../run"}]}))
    assert evaluate("--model", tmp_path / "both", tiny) == 0
    assert asked == ["both", "tiny"]
    (best / "config.json").write_text((best / "config.json").read_text() + "\n")
    assert evaluate("--model", tmp_path / "both", tiny) == 0
    assert asked == ["both", "tiny", "both"]


def test_several_models_stand_in_one_table(
    tmp_path: Path, tiny: Path, asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    other = shutil.copytree(tiny, tmp_path / "elsewhere/tiny")
    assert evaluate("--model", tiny, other, "--names", "first", "org/second") == 0
    assert {row["model"] for row in results()} == {"first", "org/second"}
    assert "│ average │ 77.8 / 66.7 │ 77.8 / 66.7 │" in capsys.readouterr().out
    assert {path.name for path in Path("evaluations/two").iterdir() if path.is_dir()} == {"first", "org--second"}
    assert asked == ["tiny", "tiny"]
    capsys.readouterr()
    sets = [f"evaluations/two/{name}/es" for name in ("first", "org--second")]
    assert main(["compare", *sets]) == 0
    assert "3 questions on 2 paragraphs" in capsys.readouterr().out
    assert main(["report", sets[0]]) == 0
    report = Path(sets[0], "report.html").read_text(encoding="utf-8")
    assert "88.89" in report


def test_a_matrix(place: Path, tiny: Path, asked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    for pair in ("en.en", "en.es"):
        shutil.copy("en.json", f"{pair}.json")
    for pair in ("es.en", "es.es"):
        shutil.copy("es.json", f"{pair}.json")
    Path("matrix.yaml").write_text(
        "languages: [en, es]\nquestion_languages: [en, es]\nfile: '{language}.{question_language}.json'\n"
        "averages: {same: [en.en, es.es]}\n"
    )
    assert evaluate("--model", tiny, suite="matrix.yaml") == 0
    lines = Path("evaluations/matrix/results.md").read_text().splitlines()
    assert lines[2:7] == [
        "| context | en | es | mean |",
        "| --- | ---: | ---: | ---: |",
        "| en | 66.7 | 66.7 | 66.7 |",
        "| es | 88.9 | 88.9 | 88.9 |",
        "| mean | 77.8 | 77.8 | 77.8 |",
    ]
    assert "│ tiny  │ 77.8 / 66.7 │" in capsys.readouterr().out
    spanish = [row for row in results("evaluations/matrix") if row["name"] == "es.en"]
    assert [(row["language"], row["question_language"], row["rule"]) for row in spanish] == [("es", "en", "MLQA (es)")]


def test_adversarial_parts_have_rows(tmp_path: Path, tiny: Path, asked: list[str]) -> None:
    context = "Ada wrote the first program in London."
    rows = [
        {"id": "a", "question": "Who?", "context": context, "answers": ["Ada"]},
        {"id": "a-turk1", "question": "Who?", "context": f"{context} Grace.", "answers": ["Ada first"]},
        {"id": "a-turk2", "question": "Who?", "context": f"{context} Alan.", "answers": ["program"]},
    ]
    Path("adversarial.json").write_text(json.dumps(rows))
    Path("adversarial.yaml").write_text("sets: {s: {file: adversarial.json, adversarial: true, rule: squad_v1}}")
    assert evaluate("--model", tiny, suite="adversarial.yaml") == 0
    found = {row["name"]: (row["kind"], row["questions"], row["f1"]) for row in results("evaluations/adversarial")}
    assert found["s"] == ("set", 3, pytest.approx((100 + 200 / 3) / 3))
    assert found["s, original"] == ("part", 1, 100)
    assert found["s, adversarial"] == ("part", 1, 0)


def test_sets_of_the_hub_and_of_one_split(
    tmp_path: Path,
    tiny: Path,
    asked: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A folder of Parquet files loads through the same call; ids say which language a question is in."""
    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    languages = {"english": ENGLISH, "spanish": SPANISH}
    rows = [
        {"id": f"{language}-{context}-{question}", "question": question, "context": context, "answers": golds}
        for language, contexts in languages.items()
        for context, asked_of in contexts.items()
        for question, golds in asked_of.items()
    ]
    (tmp_path / "hub").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "hub/validation.parquet")
    Path("hub.yaml").write_text(
        f"dataset_name: {tmp_path / 'hub'}\nid_prefix: '{{name}}-'\nrule: squad_v1\nsets:\n"
        "  english: {language: en}\n  spanish: {language: es}\n"
    )
    assert evaluate("--model", tiny, suite="hub.yaml") == 0
    capsys.readouterr()
    found = {row["name"]: (row["questions"], row["exact_match"]) for row in results("evaluations/hub")}
    assert found["english"] == (3, pytest.approx(200 / 3))
    assert found["spanish"] == (3, 0)
    Path("none.yaml").write_text(f"sets: {{a: {{dataset_name: {tmp_path / 'hub'}, id_prefix: finnish-}}}}")
    said = error_of(["evaluate", "--suite", "none.yaml", "--model", str(tiny)], capsys)
    assert "hub, validation: no question has an id that begins with 'finnish-'" in said


def test_columns_of_other_names(tmp_path: Path, tiny: Path, asked: list[str]) -> None:
    write_set(tmp_path / "named.json", ENGLISH, answers="gold", question="frage")
    Path("named.yaml").write_text(
        "sets: {s: {file: named.json, language: en, column_names: {answers: gold, question: frage}}}"
    )
    assert evaluate("--model", tiny, suite="named.yaml") == 0
    assert figures(results("evaluations/named"))["s"][0] == pytest.approx(200 / 3)


def test_missing_files_are_named_or_left_out(
    tmp_path: Path, tiny: Path, asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("data").mkdir()
    shutil.copy("en.json", "data")
    said = error_of(["evaluate", "--suite", "two.yaml", "--model", str(tiny), "--data_dir", "data"], capsys)
    assert said == (
        "error: 1 of the 2 sets of two are not there; looked for data/es.json; --skip_missing scores the others (en)\n"
    )
    assert asked == []
    assert evaluate("--model", tiny, "--data_dir", "data", "--skip_missing") == 0
    written = capsys.readouterr()
    assert written.err == "note: 1 of the 2 sets of two are not there; looked for data/es.json\n"
    assert [row["name"] for row in results()] == ["en"]
    assert (
        "Left out, since their files were not there: <bdi>es</bdi>" in Path("evaluations/two/results.html").read_text()
    )
    Path("data/en.json").unlink()
    said = error_of(
        ["evaluate", "--suite", "two.yaml", "--model", str(tiny), "--data_dir", "data", "--skip_missing"], capsys
    )
    assert said.startswith("error: 2 of the 2 sets of two are not there; looked for data/en.json, data/es.json; name ")


def test_an_average_says_of_how_many_sets_it_is(tiny: Path, asked: list[str]) -> None:
    write_set(Path("de.json"), ENGLISH)
    Path("two.yaml").write_text(SUITE.replace("es]", "es, de, vi]"))
    assert evaluate("--model", tiny, "--skip_missing") == 0
    assert results()[-1]["name"] == "average (3 of 4)"
    assert results()[-1]["sets"] == ["en", "es", "de"]


def test_a_language_that_mlqa_does_not_know_is_said(
    tiny: Path, asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy("en.json", "fi.json")
    Path("two.yaml").write_text(SUITE.replace("es]", "fi]"))
    assert evaluate("--model", tiny) == 0
    assert capsys.readouterr().err.startswith(
        "note: MLQA's rule knows en, es, de, ar, hi, vi, zh; fi: scored in lower "
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--sets", "de"], "--sets: two has no set 'de'; it has en, es"),
        (["--names", "a", "b"], "1 models have 2 names; give each model one"),
        (["--names", " "], "the name ' ' is none, or another model's too"),
        (["--data_dir", "nowhere"], "--data_dir nowhere: no such folder; see "),
        (["--suite", "nothing"], "there is no suite 'nothing'; name one of mlqa, "),
        (["--rule", "squad"], "argument --rule: invalid choice: 'squad'"),
    ],
)
def test_mistakes(tiny: Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str) -> None:
    arguments = ["evaluate", "--suite", "two.yaml", "--model", str(tiny), *flags]
    assert error_of(arguments, capsys).startswith(f"error: {message}")
    assert not Path("evaluations").exists()


def test_models_that_cannot_be_are_found_first(tmp_path: Path, tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    twice = ["evaluate", "--suite", "two.yaml", "--model", str(tiny), f"{tiny}/../tiny"]
    assert "is named twice among the models" in error_of(twice, capsys)
    absent = ["evaluate", "--suite", "two.yaml", "--model", str(tiny), str(tmp_path / "absent")]
    assert str(tmp_path / "absent") in error_of(absent, capsys)
    assert not Path("evaluations").exists()


@pytest.mark.parametrize("output", ["en.json", "en.json/more"])
def test_a_place_that_is_no_folder_is_found_before_any_model_is_asked(
    tiny: Path, asked: list[str], capsys: pytest.CaptureFixture[str], output: str
) -> None:
    said = error_of(["evaluate", "--suite", "two.yaml", "--model", str(tiny), "--output", output], capsys)
    assert said.startswith("error: en.json is no folder, where results are to be written")
    assert asked == []


def test_a_file_that_cannot_be_read_is_found_before_any_model_is_asked(
    tiny: Path, asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("es.json").write_text("{")
    said = error_of(["evaluate", "--suite", "two.yaml", "--model", str(tiny)], capsys)
    assert said.startswith("error: es.json: ")
    assert asked == []


INTERRUPTED = """
import os, signal, sys
from qa_lightning.suites import scores
write, calls = scores.write_table, []
def write_table(path, table):
    calls.append(path)
    if len(calls) == 2:
        os.kill(os.getpid(), int(os.environ["SIGNAL"]))
    write(path, table)
scores.write_table = write_table
from qa_lightning.cli.main import main
sys.exit(main())
"""
"""The command, which gets a signal while it writes what it was answered to the second set."""


@pytest.fixture(params=[signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def ended(request: pytest.FixtureRequest, place: Path, tiny: Path) -> tuple[int, int, str]:
    environment = {"PYTHONPATH": str(ROOT), "SIGNAL": str(int(request.param)), "PATH": ""}
    command = ["-c", INTERRUPTED, "evaluate", "--suite", "two.yaml", "--model", str(tiny)]
    done = forked.run(command, env=environment, cwd=place)
    return request.param, done.returncode, done.stderr


@pytest.mark.slow
def test_an_evaluation_that_is_ended_goes_on(
    ended: tuple[int, int, str], tiny: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    number, status, said = ended
    if number == signal.SIGKILL:
        assert status == -signal.SIGKILL
    else:
        assert status == 128 + number
        assert said.splitlines()[-1] == "stopped: 1 of 2 sets are scored; the same command goes on"
        assert "Traceback" not in said
    assert not Path("evaluations/two/results.html").exists()
    assert evaluate("--model", tiny) == 0
    lines = capsys.readouterr().out.splitlines()[:2]
    assert [line.endswith("kept from before)") for line in lines] == [True, False]
    through = results()
    shutil.rmtree("evaluations")
    assert evaluate("--model", tiny) == 0
    assert results() == through
    assert {path.name for path in Path("evaluations/two").rglob(".*")} == set()


def test_help_names_the_suites(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["evaluate", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "mlqa, squad-adversarial, tydiqa-goldp, xquad, or a file of yours" in said
    assert read_suite("xquad").title == "XQuAD"
