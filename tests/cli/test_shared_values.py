"""Values that two sections share: stated at one key, and refused at the other, wherever they are given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from qa_lightning.cli.lightning import QACLI
from qa_lightning.cli.main import main
from qa_lightning.cli.shared_values import SHARED_VALUES, check_shared_values, full_key
from qa_lightning.utils.errors import UserError
from tests.cli.mistakes import error_of

LINKS = [pytest.param(source, target, id=target) for source, target in SHARED_VALUES.items()]

VALUES = {"version_2_with_negative": True, "monitor": "val/exact_match", "mode": "min"}
"""A value of each shared setting that is neither a number nor a name."""


def value_of(key: str) -> Any:
    """A value that a key accepts."""
    name = key.rpartition(".")[2]
    return VALUES.get(name, "somewhere" if name.endswith(("name", "path")) else 33)


def nested(key: str, value: Any) -> dict[str, Any]:
    """A value as a config has it."""
    for part in reversed(key.split(".")):
        value = {part: value}
    return dict(value)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(arguments: list[str], source: str, environment: dict[str, str] | None = None) -> str:
    """What is said to a command line in which a shared value is given at the wrong key; it names the right one."""
    with pytest.raises(UserError) as refusal:
        check_shared_values(arguments, environment)
    said = str(refusal.value)
    assert f"is always the value of {source}; set " in said
    assert said.endswith(f"{source} instead")
    return said


def test_these_are_the_links_of_the_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    linked: dict[str, str] = {}

    def note(parser: Any, source: str, target: str) -> None:
        linked[source] = target

    monkeypatch.setattr("jsonargparse.ArgumentParser.link_arguments", note)
    with pytest.raises(SystemExit):
        main(["fit", "--print_config"])
    assert linked == {full_key(source): full_key(target) for source, target in SHARED_VALUES.items()}


@pytest.mark.parametrize(("source", "target"), LINKS)
def test_as_a_flag(source: str, target: str, capsys: pytest.CaptureFixture[str]) -> None:
    value = str(value_of(target))
    for key in (target, full_key(target), target.replace(".", ".dict_kwargs.")):
        for flag in ([f"--{key}", value], [f"--{key}={value}"]):
            assert refused(["fit", *flag], source).startswith(f"--{key}: ")
    check_shared_values(["fit", f"--{source}", value, f"--{full_key(source)}={value}"])
    said = error_of(["fit", f"--{target}={value}"], capsys)
    assert said == f"error: --{target}: this is always the value of {source}; set --{source} instead\n"


@pytest.mark.parametrize(("source", "target"), LINKS)
def test_in_a_config(source: str, target: str, here: Path) -> None:
    for key in (target, full_key(target)):
        Path("config.yaml").write_text(yaml.safe_dump(nested(key, value_of(target))))
        for flag in (["--config", "config.yaml"], ["--config=config.yaml"], ["-c", "config.yaml"], ["-cconfig.yaml"]):
            assert refused(["fit", *flag], source).startswith(f"config.yaml: {target} ")
        Path("outer.yaml").write_text(json.dumps({"config": "config.yaml"}))
        assert refused(["fit", "--config", "outer.yaml"], source).startswith("config.yaml: ")
    Path("config.yaml").write_text(json.dumps({f"fit.{target}": value_of(target)}))
    assert refused(["--config", "config.yaml", "fit"], source).startswith("config.yaml: ")
    Path("config.yaml").write_text(yaml.safe_dump(nested(source, value_of(source))))
    check_shared_values(["fit", "--config", "config.yaml"])


@pytest.mark.parametrize(("source", "target"), LINKS)
def test_in_the_config_of_a_section(source: str, target: str, here: Path) -> None:
    section, _, name = target.partition(".")
    settings = {name: value_of(target)}
    Path("sections").mkdir()
    Path("sections/section.yaml").write_text(yaml.safe_dump({"init_args": settings}))
    Path("sections/config.yaml").write_text(yaml.safe_dump({section: "section.yaml"}))
    for flag in (["--config", "sections/config.yaml"], [f"--{section}", "sections/section.yaml"]):
        assert refused(["fit", *flag], source).startswith("sections/section.yaml: ")
    # A sweep hands nested parameters over as Python prints them.
    for text in (str(settings), json.dumps(settings), yaml.safe_dump(settings)):
        assert refused(["fit", f"--{section}={text}"], source).startswith(f"--{section}: {target} ")
    assert refused(["fit", f"--{section}.init_args", str(settings)], source)


@pytest.mark.parametrize(("source", "target"), LINKS)
def test_in_the_environment(source: str, target: str) -> None:
    section, _, name = target.partition(".")
    value = value_of(target)
    for variable, given in {
        "PL_CONFIG": {"fit": nested(target, value)},
        "PL_FIT__CONFIG": nested(target, value),
        f"PL_FIT__{section.upper()}": {name: value},
    }.items():
        assert refused(["fit"], source, {variable: json.dumps(given)}).startswith(f"{variable}: {target} ")


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        (["fit", "--config", "config.yaml"], "config.yaml: model.max_length"),
        (["--config", "verb.yaml", "fit"], "verb.yaml: model.max_length"),
        (["validate", "--model", "model.yaml"], "model.yaml: model.max_length"),
        (["test", "--model={'max_length': 32}"], "--model: model.max_length"),
        (["inspect", "--model.max_length", "32"], "--model.max_length: this"),
    ],
)
def test_every_verb_refuses_it(
    arguments: list[str], where: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("model.yaml").write_text("max_length: 32")
    Path("config.yaml").write_text("model: {max_length: 32}")
    Path("verb.yaml").write_text("fit: {model: {max_length: 32}}")
    set_instead = "set --data.max_length instead" if "this" in where else "set data.max_length instead"
    said = error_of(arguments, capsys)
    assert said == f"error: {where} is always the value of data.max_length; {set_instead}\n"


def test_the_environment_counts_where_the_parser_reads_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PL_FIT__MODEL", "{max_length: 32}")
    with pytest.raises(SystemExit, match="0"):
        main(["fit", "--print_config"])
    capsys.readouterr()
    monkeypatch.setenv("JSONARGPARSE_DEFAULT_ENV", "true")
    assert error_of(["fit", "--print_config"], capsys).startswith("error: PL_FIT__MODEL: model.max_length is always ")


@pytest.mark.parametrize(("source", "target"), LINKS)
def test_the_other_key_sets_both(source: str, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class ParsedError(Exception):
        """Ends a command once its settings are parsed."""

    configs: list[Any] = []

    def stop(cli: QACLI) -> None:
        configs.append(cli.config.fit)
        raise ParsedError

    monkeypatch.setattr(QACLI, "before_instantiate_classes", stop)
    with pytest.raises(ParsedError):
        main(["fit", f"--{source}", str(value_of(source))])
    assert configs[0][full_key(source)] == configs[0][full_key(target)] == value_of(source)


def test_a_file_that_names_itself_ends_in_one_line(here: Path) -> None:
    Path("model.yaml").write_text("model: model.yaml\nmax_length: model.yaml\n")
    refused(["fit", "--model", "model.yaml"], "data.max_length")
    Path("loop.yaml").write_text("config: loop.yaml\n")
    check_shared_values(["fit", "--config", "loop.yaml"])
