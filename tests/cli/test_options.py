"""The short help of the verbs that take settings, and the whole one of a section."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

from qa_lightning.cli.main import main
from qa_lightning.cli.options import CLASSES, INSPECT_OPTIONS, RUN_OPTIONS, SHOWN, arguments_of, linked_arguments
from qa_lightning.cli.overview import SECTION_HELP, TAKES_SETTINGS
from qa_lightning.cli.section_help import SECTIONS
from qa_lightning.cli.shared_values import SHARED_VALUES
from tests.cli.mistakes import error_of
from tests.conftest import ROOT

SCREEN = 62
"""Most lines of a help on a terminal of 80 columns: about what one of a usual height shows."""


def said_by(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(arguments) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("section", CLASSES)
def test_what_is_read_from_the_source_is_what_the_class_takes(section: str) -> None:
    cls = SECTIONS[section]
    taken = [name for name in inspect.signature(cls).parameters if name not in linked_arguments(section)]
    read = arguments_of(section)
    assert list(read) == taken
    assert all(len(text) > 10 and "\n" not in text for text in read.values())


def test_sections_and_verbs_are_those_of_the_parser() -> None:
    assert [f"--{section}.help" for section in SECTIONS] == list(SECTION_HELP)
    assert list(SHOWN) == list(TAKES_SETTINGS)


@pytest.mark.parametrize("verb", TAKES_SETTINGS)
def test_the_help_of_a_verb_fits_on_a_screen(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = said_by([verb, "--help"], capsys).splitlines()
    assert lines[0].startswith(f"usage: python -m qa_lightning {verb} ")
    assert len(lines) <= SCREEN
    assert max(map(len, lines[1:])) <= 80
    flags = [line.split()[0] for line in lines if line.startswith("  --")]
    assert sorted(flags) == sorted(f"--{key}" for key in SHOWN[verb])


def test_the_help_of_fit_names_every_option_of_ours(capsys: pytest.CaptureFixture[str]) -> None:
    words = {word.strip(",").rpartition(".")[2] for word in said_by(["fit", "-h"], capsys).replace("--", " ").split()}
    assert set(RUN_OPTIONS) <= words
    for section in CLASSES:
        assert set(arguments_of(section)) <= words
    for key in SHARED_VALUES.values():
        assert f"--{key}" not in said_by(["fit", "-h"], capsys)


def test_every_flag_that_is_shown_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    for verb, keys in SHOWN.items():
        for key in keys:
            if key not in ("print_config", *INSPECT_OPTIONS):
                said = error_of([verb, f"--{key}"], capsys)  # without its value, of which the parser speaks
                assert "unknown" not in said
                assert "nrecognized" not in said


@pytest.mark.parametrize("flag", SECTION_HELP)
def test_the_whole_help_of_a_section(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    section = flag.removeprefix("--").removesuffix(".help")
    for verb in ("fit", "inspect"):
        said = said_by([verb, "--config", "absent.yaml", flag], capsys)
        assert said.startswith(f"usage: python -m qa_lightning {verb} [--{section}.OPTION VALUE]")
        names = [name for name in inspect.signature(SECTIONS[section]).parameters if name not in ("args", "kwargs")]
        for name in names:
            assert (f"--{section}.{name}" in said) != (name in linked_arguments(section))
    assert "--help" not in said


def test_the_help_of_the_trainer_has_our_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    said = " ".join(said_by(["fit", "--trainer.help"], capsys).split())
    assert "default: 3)" in said.partition("--trainer.max_epochs")[2].partition("--trainer.")[0]
    assert "--trainer.accumulate_grad_batches" in said


def test_the_help_of_a_class_that_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["fit", "--trainer.logger.help", "CSVLogger"])
    assert "--trainer.logger.save_dir" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="0"):
        main(["fit", "--model.help", "tests.cli.test_lightning.OtherModule"])
    assert "--model.temperature" in capsys.readouterr().out


def test_a_reader_of_the_help_may_go() -> None:
    command = f"{sys.executable} -m qa_lightning fit --trainer.help | head -1"
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("usage: ")
    assert done.stderr == ""
