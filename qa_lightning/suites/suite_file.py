"""Reads suites: a user's own from a file of YAML, and those of the package by their names."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import fields
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from qa_lightning.suites.suite import EVERY_SET, EvaluationSet, Suite, check_set, filled_in
from qa_lightning.utils.bounded_yaml import check_yaml, read_config
from qa_lightning.utils.errors import UserError

_SHIPPED = files("qa_lightning.suites") / "shipped"
_SUFFIXES = (".yaml", ".yml")

_OF_A_SET = tuple(field.name for field in fields(EvaluationSet) if field.name != "name")
_OF_A_SUITE = ("title", "sets", "languages", "question_languages", "averages")
_WITH_PLACEHOLDERS = (
    *("file", "dataset_name", "dataset_config_name", "dataset_revision", "split", "id_prefix"),
    *("language", "question_language"),
)
_AVERAGE = "average"


def shipped_suites() -> list[str]:
    """The names of the suites that come with the package."""
    return sorted(Path(found.name).stem for found in _SHIPPED.iterdir() if found.name.endswith(_SUFFIXES))


def read_suite(name: str) -> Suite:
    """Reads a suite.

    Args:
        name: The name of one of the package's, or a file of YAML.

    Raises:
        UserError: Where there is no such suite, or its file is not as it should be; the line says what is wrong.
    """
    shipped = shipped_suites()
    if name in shipped:
        text = (_SHIPPED / f"{name}.yaml").read_text(encoding="utf-8")
        return parse_suite(text, name, name, None)
    if not name.endswith(_SUFFIXES):
        near = difflib.get_close_matches(name[:40], shipped, n=1)
        question = f"did you mean {near[0]!r}? " if near else ""
        raise UserError(f"there is no suite {name!r:.80}; {question}name one of {', '.join(shipped)}, or a .yaml file")
    path = Path(name).expanduser()
    text = read_config(str(path))
    return parse_suite(text, name, path.stem, path.parent)


def parse_suite(text: str, source: str, name: str, folder: Path | None) -> Suite:
    """Makes a suite from the text of its file.

    Args:
        text: YAML.
        source: What messages call the file.
        name: The suite's short name.
        folder: The file's folder; None: it is one of the package's.

    Raises:
        UserError: Where the text is not as it should be.
    """
    check_yaml(text, source)
    try:
        values = yaml.load(text, _NoKeyTwice)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError as error:
        raise UserError(f"{source}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise UserError(
            f"{source}: not a suite, which is an object with sets, or languages, and what they are read from"
        )
    _check_keys(values, (*_OF_A_SUITE, *_OF_A_SET), source)
    defaults = {key: value for key, value in values.items() if key in _OF_A_SET}
    sets = tuple(_make_set(*named, source) for named in _sets(values, defaults, source))
    folders = Counter(each.name.casefold() for each in sets)
    for each in sets:
        if folders[each.name.casefold()] > 1:
            raise UserError(f"{source}: the set {each.name!r:.80} has the name of another set but for capital letters")
    title = values.get("title", name)
    if not isinstance(title, str) or not title.strip():
        raise UserError(f"{source}: title is a text, not {title!r:.80}")
    return Suite(name, title, sets, _averages(values, [each.name for each in sets], source), folder)


class _NoKeyTwice(yaml.SafeLoader):  # type: ignore[misc] # PyYAML has no types
    """PyYAML's safe loader, which does not let the second of two sets of a name take the place of the first."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        names = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        name, times = names.most_common(1)[0] if names else ("", 0)
        if times > 1:
            raise yaml.constructor.ConstructorError(None, None, f"{name!r:.80} stands there twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _sets(values: Mapping[str, Any], defaults: dict[str, Any], source: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the name and the settings of each set: of those that are listed, or one for each language."""
    if ("sets" in values) == ("languages" in values):
        which = "both sets and languages" if "sets" in values else "neither sets nor languages"
        raise UserError(f"{source}: names {which}; give one of them")
    if "sets" in values:
        yield from _listed_sets(values["sets"], defaults, source)
        return
    languages = _codes(values, "languages", source)
    if "question_languages" not in values:
        yield from ((code, defaults | {"language": code}) for code in languages)
        return
    for code in languages:
        for asked in _codes(values, "question_languages", source):
            yield f"{code}.{asked}", defaults | {"language": code, "question_language": asked}


def _listed_sets(listed: Any, defaults: dict[str, Any], source: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if not isinstance(listed, dict) or not listed:
        raise UserError(f"{source}: sets is an object of names and what each set is, as in `sets: {{en: en.json}}`")
    for name, settings in listed.items():
        where = f"{source}: the set {name!r:.80}"
        if not isinstance(name, str):
            raise UserError(f"{where}: its name is no text; write it in quotes")
        if settings is None:
            settings = {}
        elif isinstance(settings, str):
            settings = {"file": settings}
        elif not isinstance(settings, dict):
            raise UserError(f"{where} is {settings!r:.80}; give a file, or an object with {', '.join(_OF_A_SET)}")
        _check_keys(settings, _OF_A_SET, where)
        yield name, defaults | settings


def _make_set(name: str, settings: Mapping[str, Any], source: str) -> EvaluationSet:
    where = f"{source}: the set {name!r:.80}"
    made = {key: _checked(key, value, where) for key, value in settings.items() if value is not None}
    known = {"name": name, "language": made.get("language"), "question_language": made.get("question_language")}
    for key in _WITH_PLACEHOLDERS:
        if isinstance(made.get(key), str):
            made[key] = filled_in(made[key], known, f"{where}: {key}")
        elif key in made:
            made[key] = tuple(filled_in(text, known, f"{where}: {key}") for text in made[key])
    each = EvaluationSet(name, **made)
    check_set(each, where)
    return each


def _checked(key: str, value: Any, where: str) -> Any:
    """The value of a setting, where it is of the right kind."""
    if key == "adversarial":
        wanted, right = "true or false", isinstance(value, bool)
    elif key == "column_names":
        wanted = "an object of texts, as in {answers: gold}"
        right = isinstance(value, dict) and all(isinstance(text, str) for text in (*value, *value.values()))
    elif key == "file" and isinstance(value, list):
        wanted, right = "a file, or a list of them", bool(value) and all(isinstance(text, str) for text in value)
    else:
        wanted, right = "a text, in quotes where YAML takes it for something else", isinstance(value, str)
    if not right or value == "":
        raise UserError(f"{where}: {key} is {value!r:.80}; it takes {wanted}")
    return value


def _codes(values: Mapping[str, Any], key: str, source: str) -> list[str]:
    codes = values[key]
    if not isinstance(codes, list) or not codes or not all(isinstance(code, str) for code in codes):
        raise UserError(f"{source}: {key} is a list of codes, as in [de, en]; `no` needs quotes in YAML")
    if len(set(codes)) < len(codes):
        raise UserError(f"{source}: {key} names {Counter(codes).most_common(1)[0][0]!r:.80} twice")
    return codes


def _averages(values: Mapping[str, Any], names: list[str], source: str) -> dict[str, tuple[str, ...]]:
    """The means to compute, by default that of all sets, where there are several."""
    if "averages" not in values:
        return {_AVERAGE: tuple(names)} if len(names) > 1 else {}
    averages = values["averages"]
    if not isinstance(averages, dict):
        raise UserError(f"{source}: averages is an object of names and sets, as in {{non-English: [de, fi]}}")
    made = {}
    for name, chosen in averages.items():
        where = f"{source}: the average {name!r:.80}"
        if not isinstance(name, str) or not name.strip() or name in names:
            raise UserError(f"{where} needs a name of its own, which is a text and no set's")
        if chosen == EVERY_SET:
            chosen = names
        if not isinstance(chosen, list) or not chosen or not all(isinstance(each, str) for each in chosen):
            raise UserError(f"{where} is a list of sets, or '{EVERY_SET}' for all of them")
        unknown = [each for each in chosen if each not in names]
        if unknown:
            raise UserError(f"{where} names a set that there is not: {unknown[0]!r:.80}")
        made[name] = tuple(dict.fromkeys(chosen))
    return made


def _check_keys(values: Mapping[Any, Any], known: tuple[str, ...], where: str) -> None:
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(str(key)[:40], known, n=1)
            question = f"did you mean {near[0]!r}? " if near else ""
            raise UserError(f"{where}: nothing is called {key!r:.80}; {question}there are {', '.join(known)}")
