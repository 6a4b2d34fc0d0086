"""Suites as YAML says them: those of the package, those of users, and what is wrong with others."""

from __future__ import annotations

from pathlib import Path

import pytest

from qa_lightning.scoring.mlqa import LANGUAGES
from qa_lightning.suites.suite import Suite
from qa_lightning.suites.suite_file import parse_suite, read_suite, shipped_suites
from qa_lightning.utils.errors import UserError


def parsed(text: str) -> Suite:
    return parse_suite(text, "s.yaml", "s", Path("here"))


def test_the_suites_of_the_package() -> None:
    assert shipped_suites() == ["mlqa", "squad-adversarial", "tydiqa-goldp", "xquad"]
    for name in shipped_suites():
        suite = read_suite(name)
        assert suite.folder is None
        for each in suite.sets:
            assert len(each.files) == 1
            assert each.dataset_name
            assert each.dataset_config_name


def test_xquad() -> None:
    suite = read_suite("xquad")
    vietnamese = next(each for each in suite.sets if each.name == "vi")
    assert (vietnamese.file, vietnamese.dataset_name) == ("xquad.vi.json", "google/xquad")
    assert (vietnamese.dataset_config_name, vietnamese.split) == ("xquad.vi", "validation")
    assert {each.scoring_rule for each in suite.sets} == {"SQuAD 1.1"}
    assert not suite.is_matrix
    assert set(suite.averages["average"]) == {each.name for each in suite.sets} - {"ro"}


def test_mlqa_has_every_combination_by_the_rule_of_the_context() -> None:
    suite = read_suite("mlqa")
    assert suite.is_matrix
    assert [each.name for each in suite.sets] == [f"{c}.{q}" for c in LANGUAGES for q in LANGUAGES]
    mixed = next(each for each in suite.sets if each.name == "de.vi")
    assert (mixed.language, mixed.question_language, mixed.scoring_rule) == ("de", "vi", "de")
    assert mixed.file == "test-context-de-question-vi.json"
    assert (mixed.dataset_config_name, mixed.dataset_revision) == ("mlqa.de.vi", "refs/convert/parquet")
    assert mixed.split == "test"
    assert len(suite.averages["XLT"]) == 7
    assert len(suite.averages["G-XLT"]) == 49


def test_tydiqa_averages_all_languages_but_english() -> None:
    suite = read_suite("tydiqa-goldp")
    assert {each.scoring_rule for each in suite.sets} == {"SQuAD 1.1"}
    assert [each.id_prefix for each in suite.sets[:2]] == ["english-", "arabic-"]
    assert suite.sets[1].file == "tydiqa-goldp-dev-arabic.json"
    assert list(suite.averages) == ["non-English"]
    assert set(suite.averages["non-English"]) == {each.name for each in suite.sets} - {"english"}


def test_five_lines_are_a_suite() -> None:
    suite = parsed("title: Mine\nlanguages: [de, vi]\nfile: set.{language}.csv\ncolumn_names: {answers: gold}\n")
    assert [(each.name, each.file, each.scoring_rule) for each in suite.sets] == [
        ("de", "set.de.csv", "de"),
        ("vi", "set.vi.csv", "vi"),
    ]
    assert suite.sets[0].column_names == {"answers": "gold"}
    assert suite.averages == {"average": ("de", "vi")}


def test_sets_are_listed_with_settings_of_their_own() -> None:
    suite = parsed(
        "rule: squad_v1\nsets:\n  a: a.json\n  b: {file: [b1.json, b2.json], rule: mlqa, language: FR}\n"
        "  c: {dataset_name: some/set, split: 'test[:9]'}\n"
    )
    assert [each.scoring_rule for each in suite.sets] == ["SQuAD 1.1", "fr", "SQuAD 1.1"]
    assert [each.files for each in suite.sets] == [("a.json",), ("b1.json", "b2.json"), ()]
    assert [each.rule_title for each in suite.sets] == ["SQuAD 1.1", "MLQA (fr)", "SQuAD 1.1"]
    assert parsed("sets: {a: a.json}").averages == {}
    assert parsed("sets: {a: a.json}").sets[0].scoring_rule == "SQuAD 2.0"


def test_averages() -> None:
    assert parsed("sets: {a: a.json, b: b.json}\naverages: {all: '*', a alone: [a, a]}").averages == {
        "all": ("a", "b"),
        "a alone": ("a",),
    }
    assert parsed("sets: {a: a.json, b: b.json}\naverages: {}").averages == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- a", "not a suite, which is an object with sets"),
        ("sets: [", "not YAML: "),
        ("title: x", "names neither sets nor languages; give one of them"),
        ("sets: {a: a.json}\nlanguages: [en]", "names both sets and languages; give one of them"),
        ("sets: {a: a.json}\nlangauge: en", "nothing is called 'langauge'; did you mean 'language'? there are title, "),
        ("sets: {a: {fil: a.json}}", "the set 'a': nothing is called 'fil'; did you mean 'file'? there are file, "),
        ("sets: {a: a.json, a: b.json}", "not YAML: 'a' stands there twice"),
        ("sets: {a: a.json, A: b.json}", "the set 'a' has the name of another set but for capital letters"),
        ("sets: {}", "sets is an object of names and what each set is"),
        ("sets: {3: a.json}", "the set 3: its name is no text; write it in quotes"),
        ("sets: {a: 3}", "the set 'a' is 3; give a file, or an object with file, "),
        ("sets: {a: {language: en}}", "the set 'a' names no data; give it a file, or a dataset_name on the Hub"),
        ("sets: {a: {file: ''}}", "the set 'a': file is ''; it takes a text"),
        ("sets: {a: {file: []}}", "the set 'a': file is []; it takes a file, or a list of them"),
        (
            "sets: {a: {file: a.json, language: no}}",
            "the set 'a': language is False; it takes a text, in quotes where ",
        ),
        ("sets: {a: {file: a.json, language: deutsch}}", "the set 'a': language 'deutsch' is not known: "),
        ("sets: {a: {file: a.json, rule: squad}}", "the set 'a': rule cannot be 'squad'; it is one of squad_v1, "),
        ("sets: {a: {file: a.json, rule: mlqa}}", "the set 'a': MLQA's rule is one for each language; give the set's "),
        ("sets: {a: {file: a.json, column_names: answers}}", "the set 'a': column_names is 'answers'; it takes an "),
        ("sets: {a: {file: a.json, adversarial: 1}}", "the set 'a': adversarial is 1; it takes true or false"),
        ("sets: {a/b: a.json}", "the set 'a/b': 'a/b' cannot be the name of a set, which is also a folder's"),
        ("sets: {..: a.json}", "the set '..': '..' cannot be the name of a set"),
        (
            "sets: {a: 'x.{language}.json'}",
            "the set 'a': file: nothing is known of '{language}'; what can stand here is",
        ),
        ("languages: [de, de]\nfile: a.json", "languages names 'de' twice"),
        ("languages: [no]\nfile: a.json", "languages is a list of codes, as in [de, en]; `no` needs quotes in YAML"),
        ("languages: [de]\nquestion_languages: de\nfile: a.json", "question_languages is a list of codes"),
        ("sets: {a: a.json}\naverages: [a]", "averages is an object of names and sets"),
        ("sets: {a: a.json}\naverages: {x: [b]}", "the average 'x' names a set that there is not: 'b'"),
        ("sets: {a: a.json}\naverages: {x: a}", "the average 'x' is a list of sets, or '*' for all of them"),
        ("sets: {a: a.json}\naverages: {a: [a]}", "the average 'a' needs a name of its own"),
        ("sets: {a: a.json}\ntitle: 3", "title is a text, not 3"),
    ],
)
def test_what_is_wrong_is_said_in_a_line(text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        parsed(text)
    assert str(caught.value).startswith(f"s.yaml: {message}")
    assert "\n" not in str(caught.value)


def test_a_suite_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^there is no suite 'xqaud'; did you mean 'xquad'\? name one of mlqa, "):
        read_suite("xqaud")
    with pytest.raises(UserError, match=r"absent\.yaml: the config cannot be read: No such file or directory$"):
        read_suite(str(tmp_path / "absent.yaml"))
