"""``export`` as it is called, and uploads to a stand-in for the Hub."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from qa_lightning.cli.main import main
from qa_lightning.reader.reader import Reader
from tests import forked
from tests.cli import mistakes
from tests.conftest import ROOT
from tests.hub import TOKEN, Hub, standin_hub
from tests.tiny import fit_arguments, tiny_folder, write_squad

ROW = {"question": "Who wrote the program?", "context": "Ada wrote the first program in London."}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the command line, in a folder of its own."""
    folder = tmp_path_factory.mktemp("secret-place")
    model, data = tiny_folder(folder / "tiny"), write_squad(folder / "squad.json")
    forked.run(["-m", "qa_lightning", *fit_arguments(str(model), str(data), str(data)), "--run_dir", folder / "run"])
    return folder / "run"


def error_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    return mistakes.error_of(["export", *arguments], capsys)


def test_a_run_as_onnx(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "exported"
    assert main(["export", str(run), "--format", "onnx", "--output", str(output)]) == 0
    written = capsys.readouterr()
    lines = written.out.splitlines()
    assert lines[0].startswith("The logits differ from torch's by ")
    assert lines[1:] == [f"The model is in {output}"]
    assert written.err == ""
    card = (output / "README.md").read_text(encoding="utf-8")
    assert "It was trained from tiny." in card
    assert "| training | squad.json |" in card
    assert "| max_length | 48 |" in card
    assert "| f1 | " in card
    assert "secret-place" not in card
    ours, torchs = Reader.from_pretrained(output), Reader.from_pretrained(run)
    found, expected = ours(**ROW), torchs(**ROW)
    assert found["answer"] == expected["answer"]
    assert found["score"] == pytest.approx(expected["score"], abs=1e-4)


def test_int8_is_shown_beside_float32(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = str(write_squad(tmp_path / "squad.json"))
    arguments = ["export", str(run), "--format", "onnx", "--output", str(tmp_path / "small"), "--int8", "--data", data]
    assert main(arguments) == 0
    written = capsys.readouterr()
    for word in ("6 questions of squad.json", "questions/s", "float32", "int8", "change", "× 0."):
        assert word in written.out
    assert written.err == ""
    assert "On 6 questions of squad.json" in (tmp_path / "small/README.md").read_text(encoding="utf-8")


@pytest.mark.filterwarnings("always")
def test_a_warning_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("qa_lightning.exporting.folders.export", lambda *_, **__: warnings.warn("24 cut", stacklevel=1))
    assert main(["export", "run", "--format", "onnx", "--output", str(tmp_path / "exported")]) == 0
    assert capsys.readouterr().err == "warning: 24 cut\n"


def test_a_checkpoint_as_safetensors(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = run / "checkpoints/best.ckpt"
    assert main(["export", str(checkpoint), "--format", "safetensors", "--output", str(tmp_path / "plain")]) == 0
    assert capsys.readouterr().out == f"The model is in {tmp_path / 'plain'}\n"
    expected, found = (Reader.from_pretrained(path) for path in (checkpoint, tmp_path / "plain"))
    assert found.settings == expected.settings
    assert found(**ROW) == expected(**ROW)
    card = (tmp_path / "plain/README.md").read_text(encoding="utf-8")
    assert "| training | squad.json |" in card
    assert "secret-place" not in card


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: --format, --output"),
        (["--format", "tflite", "--output", "o"], "invalid choice: 'tflite'"),
        (["--format", "onnx", "--output", "o", "--int8"], "--int8 and --data go together"),
        (["--format", "onnx", "--output", "o", "--data", "f"], "--int8 and --data go together"),
        (["--format", "safetensors", "--output", "o", "--int8", "--data", "f"], "--int8 goes with --format onnx"),
        (["--format", "onnx", "--output", "o", "--public"], "--public goes with --push_to_hub"),
        (["--format", "onnx", "--output", "o", "--push_to_hub", "a/b/c"], "--push_to_hub a/b/c: "),
        (["--format", "safetensors", "--output", "o"], "none: no such tokenizer folder"),
    ],
)
def test_mistakes(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in error_of([str(tmp_path / "none"), *arguments], capsys)
    assert list(tmp_path.iterdir()) == []


# Uploads

UPLOAD = """
import os, sys
from huggingface_hub import constants
constants.HF_HUB_OFFLINE = False
constants.ENDPOINT = os.environ["HF_ENDPOINT"]
constants.HF_TOKEN_PATH = os.environ["HF_HOME"] + "/token"
from qa_lightning.cli.main import main
sys.exit(main())
"""
"""The command, in a process that has imported huggingface_hub, which reads its variables once."""


def upload(
    run: Path, output: Path, address: str, *flags: str, token: str = TOKEN, real: bool = False
) -> subprocess.CompletedProcess[str]:
    """Exports and uploads in a process of its own: one that begins as a user's does, or one that is forked."""
    environment = {key: value for key, value in os.environ.items() if key != "HF_HUB_OFFLINE"}
    environment |= {"HF_ENDPOINT": address, "HF_TOKEN": token, "HF_HOME": str(output.parent / "hf")}
    arguments = [str(run), "--format", "safetensors", "--output", str(output), "--push_to_hub", "me/tiny", *flags]
    if not real:
        return forked.run(["-c", UPLOAD, "export", *arguments], env=environment, timeout=120)
    return subprocess.run(
        [sys.executable, "-m", "qa_lightning", "export", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        cwd=ROOT,
        timeout=120,
    )


@pytest.fixture
def hub() -> Iterator[Hub]:
    with standin_hub() as made:
        yield made


@pytest.mark.slow
def test_an_upload_is_private_and_whole(run: Path, hub: Hub, tmp_path: Path) -> None:
    done = upload(run, tmp_path / "plain", hub.address, real=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"It is at {hub.address}/me/tiny"
    assert hub.models == {"me/tiny": True}
    assert hub.files == {path.name: path.read_bytes() for path in (tmp_path / "plain").iterdir()}
    assert 'Reader.from_pretrained("me/tiny")' in hub.files["README.md"].decode()
    assert TOKEN not in done.stdout + done.stderr
    assert all(TOKEN.encode() not in content for content in hub.files.values())


@pytest.mark.slow
def test_an_upload_is_public_where_asked_for(run: Path, hub: Hub, tmp_path: Path) -> None:
    assert upload(run, tmp_path / "plain", hub.address, "--public").returncode == 0
    assert hub.models == {"me/tiny": False}
    assert "model.safetensors" in hub.files


@pytest.mark.slow
def test_nothing_is_added_to_a_public_model_unasked(run: Path, hub: Hub, tmp_path: Path) -> None:
    hub.models["me/tiny"] = False
    done = upload(run, tmp_path / "plain", hub.address)
    assert done.returncode == 2
    assert done.stderr.startswith("error: me/tiny is on the Hub already and is public: add --public")
    assert hub.files == {}


@pytest.mark.slow
def test_a_wrong_token_is_reported_and_the_folder_kept(run: Path, hub: Hub, tmp_path: Path) -> None:
    done = upload(run, tmp_path / "plain", hub.address, token="hf_wrong0secret")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: cannot upload {tmp_path / 'plain'} as me/tiny: ")
    assert "401" in done.stderr
    assert done.stderr.count("\n") == 1
    assert "hf_wrong0secret" not in done.stdout + done.stderr
    assert (tmp_path / "plain/model.safetensors").is_file()


@pytest.mark.slow
def test_no_token_is_reported_before_any_work(run: Path, hub: Hub, tmp_path: Path) -> None:
    done = upload(run, tmp_path / "plain", hub.address, token="")
    assert done.returncode == 2
    assert done.stderr.startswith("error: --push_to_hub me/tiny needs a token: ")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
    assert not hub.models


@pytest.mark.slow
def test_no_connection_is_reported(run: Path, hub: Hub, tmp_path: Path) -> None:
    done = upload(run, tmp_path / "plain", "http://127.0.0.1:9")
    assert done.returncode == 2
    assert done.stderr.startswith("error: cannot upload ")
    assert done.stderr.count("\n") == 1
