"""Each new best model goes to a stand-in for the Hub while the training goes on."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest

from qa_lightning.callbacks import push_to_hub
from qa_lightning.callbacks.checkpoint import RunCheckpoint
from qa_lightning.callbacks.push_to_hub import PushToHub
from qa_lightning.callbacks.results import Results
from qa_lightning.cli.main import main
from qa_lightning.utils.errors import UserError
from tests.hub import TOKEN, Hub, standin_hub
from tests.tiny import fit_arguments, write_squad
from tests.training import StopAt, make_data, make_module, make_trainer, script_scores, trains

pytestmark = trains

NAME = "me/tiny"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A Hub, in the place of the one that is out of reach of tests; with a token for it."""
    from huggingface_hub import constants

    with standin_hub() as made:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", made.address)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield made


class Training:
    """A training whose validations score what a test sets."""

    def __init__(self, model: Path, squad: Path, run: Path) -> None:
        self.model, self.squad, self.run = model, squad, run
        run.mkdir()
        (run / "config.yaml").write_text("{}\n")  # by which one sees that it is a run

    def fit(self, push: PushToHub, *others: pl.Callback, f1: tuple[float, ...], **options: Any) -> None:
        module = script_scores(make_module(self.model), *f1)
        callbacks = (*others, RunCheckpoint(), Results(), push)
        settings = {"max_epochs": len(f1), "num_sanity_val_steps": 0} | options
        resume = settings.pop("resume", None)
        data = make_data(self.model, train=self.squad, validation_file=str(self.squad))
        make_trainer(self.run, *callbacks, **settings).fit(module, data, ckpt_path=resume, weights_only=True)

    def best(self) -> bytes:
        return (self.run / "best_model/model.safetensors").read_bytes()

    def left(self) -> list[Path]:
        return list(self.run.glob(".*"))


@pytest.fixture
def training(model: Path, squad: Path, tmp_path: Path) -> Training:
    return Training(model, squad, tmp_path / "run")


class AfterValidation(pl.Callback):
    """Calls a function after each validation, with its number."""

    def __init__(self, function: Any) -> None:
        self.function = function
        self.number = 0

    def on_train_epoch_end(self, *_: Any) -> None:
        self.number += 1
        self.function(self.number)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The lines about the Hub that a user sees; those of the Hub's own library among them, where it warns."""
    texts = [record.getMessage() for record in caplog.records if record.name.startswith("lightning")]
    warned = [record.getMessage() for record in caplog.records if record.name.startswith("huggingface_hub")]
    return [text for text in texts if NAME in text] + warned


def test_each_best_model_is_uploaded_with_its_card(training: Training, hub: Hub, capsys: Any) -> None:
    push = PushToHub(NAME)
    weights: list[bytes] = []

    def keep(_: int) -> None:
        push._uploads.wait()
        weights.append(training.best())

    training.fit(push, AfterValidation(keep), f1=(10.0, 30.0, 20.0))
    push.finish()
    assert hub.models == {NAME: True}
    assert [commit["model.safetensors"] for commit in hub.commits] == weights[:2]
    assert weights[0] != weights[1] == weights[2]
    files = {path.name: path.read_bytes() for path in (training.run / "best_model").iterdir()}
    assert hub.files.items() >= files.items()
    card = hub.files.pop("README.md").decode()
    assert hub.files == files
    assert f'"{NAME}"' in card
    assert "| f1 | 30.00 |" in card
    assert capsys.readouterr().out.splitlines() == [f"The best model is at {hub.address}/{NAME}"]
    assert training.left() == []


def test_training_does_not_wait_and_the_newest_is_uploaded_in_the_end(
    training: Training, hub: Hub, capsys: Any
) -> None:
    hub.open.clear()
    push = PushToHub(NAME)
    training.fit(push, f1=(10.0, 20.0, 30.0, 5.0))
    assert hub.commits == []
    hub.open.set()
    push.finish()
    # The first was under way when the others came; of these, only the best of all was still worth it.
    assert 1 <= len(hub.commits) <= 2
    assert hub.files["model.safetensors"] == training.best()
    assert "| f1 | 30.00 |" in hub.files["README.md"].decode()
    assert capsys.readouterr().out.splitlines()[-1] == f"The best model is at {hub.address}/{NAME}"
    assert training.left() == []


def test_what_is_uploaded_is_of_one_model(training: Training, hub: Hub) -> None:
    """A later best takes the folder's place while an earlier one is being read."""
    push, first = PushToHub(NAME), []
    upload = push._upload

    def late(folder: Path) -> None:
        if not first:
            first.append((folder / "model.safetensors").read_bytes())
            assert hub.open.wait(60)
            assert (folder / "model.safetensors").read_bytes() == first[0] != training.best()
        upload(folder)

    hub.open.clear()
    push._upload = push._uploads._upload = late  # type: ignore[method-assign]
    training.fit(push, f1=(10.0, 20.0))
    hub.open.set()
    push.finish()
    assert [commit["model.safetensors"] for commit in hub.commits] == [first[0], training.best()]


def test_a_network_that_fails_does_not_stop_training(training: Training, hub: Hub, caplog: Any, capsys: Any) -> None:
    push = PushToHub(NAME)

    def break_and_mend(number: int) -> None:
        push._uploads.wait()
        hub.broken = number == 1

    with caplog.at_level(logging.INFO):
        training.fit(push, AfterValidation(break_and_mend), f1=(10.0, 20.0, 15.0))
    assert len(said(caplog)) == 1
    assert said(caplog)[0].startswith(f"cannot upload the best model as {NAME}: ")
    assert "\n" not in said(caplog)[0]
    assert len(hub.commits) == 1
    push.finish()
    assert len(hub.commits) == 2
    assert hub.files["model.safetensors"] == training.best()
    assert training.left() == []


def test_a_network_that_stays_away_is_an_error_in_the_end(training: Training, hub: Hub) -> None:
    push = PushToHub(NAME)
    hub.broken = True
    training.fit(push, f1=(10.0,))
    with pytest.raises(
        UserError, match=rf"cannot upload the best model as {NAME}: .*`hf upload {NAME} .*best_model \.`"
    ):
        push.finish()
    assert hub.commits == []
    assert training.left() == []
    assert (training.run / "best_model/model.safetensors").is_file()


def test_a_copy_that_cannot_be_made_is_made_in_the_end(
    training: Training, hub: Hub, caplog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise UserError("No space left on device")

    push = PushToHub(NAME)
    with monkeypatch.context() as patch, caplog.at_level(logging.INFO):
        patch.setattr(push_to_hub, "link_or_copy", full)
        training.fit(push, f1=(10.0,))
    assert len(said(caplog)) == 1
    assert "No space left on device" in said(caplog)[0]
    push.finish()
    assert hub.files["model.safetensors"] == training.best()


def test_a_training_that_goes_on_uploads_what_was_left(training: Training, hub: Hub, caplog: Any) -> None:
    hub.open.clear()
    push = PushToHub(NAME)
    with pytest.raises(ValueError, match="broken"), caplog.at_level(logging.INFO):
        training.fit(push, StopAt(ValueError("broken"), 12), f1=(10.0, 30.0), max_epochs=3)
    assert any("left unfinished" in line for line in said(caplog))
    assert training.left() == []
    best = training.best()
    hub.open.set()
    push._uploads.wait()
    hub.commits.clear()
    again = PushToHub(NAME)
    last = training.run / "checkpoints/last.ckpt"
    training.fit(again, f1=(20.0,), max_epochs=3, resume=last)
    again.finish()
    assert [commit["model.safetensors"] for commit in hub.commits] == [best]


def test_a_public_model_gets_nothing_unasked(training: Training, hub: Hub) -> None:
    hub.models[NAME] = False
    with pytest.raises(UserError, match="is public: set hub_private_repo to false to upload there"):
        training.fit(PushToHub(NAME), f1=(10.0,))
    assert not (training.run / "best_model").exists()
    push = PushToHub(NAME, private=False)
    training.fit(push, f1=(10.0,))
    push.finish()
    assert hub.files["model.safetensors"] == training.best()


def test_nothing_is_uploaded_by_a_trial_or_an_evaluation(training: Training, hub: Hub) -> None:
    push = PushToHub(NAME)
    training.fit(push, f1=(10.0,), fast_dev_run=True)
    push.finish()
    make_trainer(training.run, push).validate(
        make_module(training.model), make_data(training.model, validation_file=str(training.squad)), verbose=False
    )
    push.finish()
    assert hub.requests == []


# The command line


@pytest.fixture
def arguments(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    squad = str(write_squad(tmp_path / "squad.json"))
    return [*fit_arguments(str(model), squad, squad), "--run_dir", "run", "--push_to_hub", NAME]


def test_fit_uploads_and_says_where(arguments: list[str], hub: Hub, capfd: Any, tmp_path: Path) -> None:
    assert main(arguments) == 0
    written = capfd.readouterr()
    assert written.out.splitlines()[-1] == f"The best model is at {hub.address}/{NAME}"
    assert hub.models == {NAME: True}
    assert hub.files["model.safetensors"] == (tmp_path / "run/best_model/model.safetensors").read_bytes()
    assert "| training | squad.json |" in hub.files["README.md"].decode()
    assert f"push_to_hub: {NAME}" in (tmp_path / "run/config.yaml").read_text()
    texts = [path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()]
    for text in (written.out.encode(), written.err.encode(), *texts, *hub.files.values()):
        assert TOKEN.encode() not in text
    assert str(tmp_path).encode() not in hub.files["README.md"]
    requests = len(hub.requests)
    assert main(["validate", "--run_dir", "run"]) == 0
    assert len(hub.requests) == requests


def test_fit_makes_it_public_where_asked(arguments: list[str], hub: Hub) -> None:
    assert main([*arguments, "--hub_private_repo", "false"]) == 0
    assert hub.models == {NAME: False}


def test_fit_that_could_not_upload_ends_with_an_error(arguments: list[str], hub: Hub, capfd: Any) -> None:
    hub.broken = True
    assert main(arguments) != 0
    written = capfd.readouterr()
    (line,) = [line for line in written.err.splitlines() if line.startswith("error: ")]
    assert f"`hf upload {NAME} run/best_model .`" in line
    assert "Everything is in run" in written.out
    assert json.loads(Path("run/metrics.json").read_text())["val/total"] == 6
    hub.broken = False
    assert main(["fit", "--run_dir", "run", "--ckpt_path", "last"]) == 0
    assert hub.files["model.safetensors"] == Path("run/best_model/model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("token", "flags", "message"),
    [
        ("", [], f"--push_to_hub {NAME} needs a token: log in with `hf auth login`, or set HF_TOKEN"),
        ("hf_wrong0secret", [], f"cannot upload the model as {NAME}: "),
        (TOKEN, ["--push_to_hub", "tiny"], "--push_to_hub tiny: say whose it is, as in USER/tiny"),
        (TOKEN, ["--push_to_hub", "a/b/c"], "--push_to_hub a/b/c: "),
    ],
)
def test_what_cannot_be_uploaded_is_refused_before_training(
    arguments: list[str],
    hub: Hub,
    token: str,
    flags: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: Any,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    assert main([*arguments, *flags]) != 0
    written = capfd.readouterr()
    (line,) = [line for line in written.err.splitlines() if line.startswith("error: ")]
    assert line.removeprefix("error: ").startswith(message)
    assert "hf_wrong0secret" not in written.out + written.err
    assert not (tmp_path / "run/checkpoints").exists()
    assert hub.commits == []
