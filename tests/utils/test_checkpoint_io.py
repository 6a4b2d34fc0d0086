"""A checkpoint takes the place of the older one when it is whole and on the disk, and not before."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
import torch

from qa_lightning.pretrained.loading import tokenizer_files
from qa_lightning.utils.checkpoint_io import DurableCheckpointIO
from qa_lightning.utils.errors import UserError
from qa_lightning.utils.files import remove_unfinished, whole_file, whole_folder
from tests import forked
from tests.conftest import ROOT
from tests.tiny import tiny_tokenizer

OLD, NEW = {"weights": torch.zeros(100_000)}, {"weights": torch.ones(100_000)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A place where an older checkpoint stands."""
    path = tmp_path / "checkpoints" / "last.ckpt"
    DurableCheckpointIO().save_checkpoint(OLD, path)
    return path


def contains(path: Path, checkpoint: dict[str, torch.Tensor]) -> bool:
    return torch.equal(torch.load(path, weights_only=True)["weights"], checkpoint["weights"])


def test_a_checkpoint_takes_the_place_of_the_older_one(path: Path) -> None:
    DurableCheckpointIO().save_checkpoint(NEW, path)
    assert contains(path, NEW)
    assert os.listdir(path.parent) == ["last.ckpt"]


def test_the_folder_for_temporary_files_is_not_used(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(path.parent / "full"))  # no file can be made there
    DurableCheckpointIO().save_checkpoint(NEW, path)
    assert contains(path, NEW)


def test_it_is_on_the_disk_before_it_takes_the_place(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flush, seen = os.fsync, []

    def spy(handle: int) -> None:
        seen.append((os.path.basename(os.readlink(f"/proc/self/fd/{handle}")).split("-")[0], contains(path, OLD)))
        flush(handle)

    monkeypatch.setattr(os, "fsync", spy)
    DurableCheckpointIO().save_checkpoint(NEW, path)
    assert seen == [(".last.ckpt", True), ("checkpoints", False)]


def test_a_failure_leaves_the_older_one_and_nothing_else(path: Path) -> None:
    class Unsavable:
        def __reduce__(self) -> str:
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        DurableCheckpointIO().save_checkpoint(NEW | {"last": Unsavable()}, path)
    assert contains(path, OLD)
    assert os.listdir(path.parent) == ["last.ckpt"]


def test_what_is_no_local_file_is_left_to_lightning() -> None:
    DurableCheckpointIO().save_checkpoint(NEW, "memory://run/last.ckpt")
    with fsspec.open("memory://run/last.ckpt") as stream:
        assert torch.load(stream, weights_only=True)["weights"].sum() == 100_000


def test_a_file_url_is_a_local_file(path: Path) -> None:
    DurableCheckpointIO().save_checkpoint(NEW, f"file://{path}")
    assert contains(path, NEW)


# A process that is killed, and a disk that is full

KILLED = """
import os, signal, sys
import torch
from qa_lightning.utils.checkpoint_io import DurableCheckpointIO
os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)
DurableCheckpointIO().save_checkpoint({"weights": torch.ones(100_000)}, sys.argv[1])
"""

LIMITED = """
import resource, sys
from pathlib import Path
import torch
from transformers import BertConfig, BertModel
from qa_lightning.utils.checkpoint_io import DurableCheckpointIO
from qa_lightning.utils.errors import UserError
from qa_lightning.utils.files import whole_folder, write_json
folder = Path(sys.argv[1])

def save_model():
    with whole_folder(folder / "best_model") as unfinished:
        config = BertConfig(vocab_size=1000, hidden_size=64, num_hidden_layers=1, num_attention_heads=2)
        BertModel(config).save_pretrained(unfinished)

resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
for write in (
    lambda: DurableCheckpointIO().save_checkpoint({"weights": torch.ones(100_000)}, folder / "last.ckpt"),
    lambda: write_json(folder / "data.json", ["x" * 100_000]),
    save_model,
):
    try:
        write()
    except UserError as error:
        print(error)
"""


def run(code: str, path: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return forked.run(["-c", code, path], env=environment)


@pytest.mark.slow
def test_a_process_killed_while_it_saves_leaves_the_older_one(path: Path) -> None:
    assert run(KILLED, path).returncode == -signal.SIGKILL
    assert len(os.listdir(path.parent)) == 2
    assert contains(path, OLD)
    remove_unfinished(path.parent)
    assert os.listdir(path.parent) == ["last.ckpt"]


@pytest.mark.slow
def test_a_limit_of_file_sizes_is_reported_in_a_line_and_leaves_nothing(tmp_path: Path) -> None:
    done = run(LIMITED, tmp_path)
    names = ("last.ckpt", "data.json", "best_model")
    assert done.stdout.splitlines() == [f"{tmp_path / name}: cannot be written: File too large" for name in names]
    assert not os.listdir(tmp_path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 200 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a disk in memory")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_reported_in_a_line_and_leaves_the_older_file(small_disk: Path) -> None:
    path = small_disk / "last.ckpt"
    DurableCheckpointIO().save_checkpoint({"weights": torch.zeros(20_000)}, path)
    with pytest.raises(UserError, match=r"last\.ckpt: cannot be written: No space left on device"):
        DurableCheckpointIO().save_checkpoint(NEW, path)
    assert contains(path, {"weights": torch.zeros(20_000)})
    with (
        pytest.raises(UserError, match=r"x\.json: cannot be written: No space left"),
        whole_file(small_disk / "x.json") as unfinished,
    ):
        unfinished.write_bytes(bytes(300_000))
    assert os.listdir(small_disk) == ["last.ckpt"]


def test_a_model_that_does_not_fit_on_the_disk(small_disk: Path) -> None:
    from safetensors.torch import save_file

    with whole_folder(small_disk / "best_model") as folder:
        save_file({"weights": torch.zeros(10)}, folder / "model.safetensors")
    with (
        pytest.raises(UserError, match=r"best_model: cannot be written: No space left on device"),
        whole_folder(small_disk / "best_model") as folder,
    ):
        save_file(NEW, folder / "model.safetensors")
    assert [path.name for path in (small_disk / "best_model").iterdir()] == ["model.safetensors"]
    assert os.listdir(small_disk) == ["best_model"]


def test_a_tokenizer_is_kept_where_temporary_files_have_no_room(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = tiny_tokenizer()
    files = tokenizer_files(tokenizer)
    (small_disk / "full").write_bytes(bytes(190_000))
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk))
    assert tokenizer_files(tokenizer) == files
    assert os.listdir(small_disk) == ["full"]
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk / "absent"))
    assert tokenizer_files(tokenizer) == files


# What is left over


def test_what_was_left_half_written_is_removed_and_nothing_else(tmp_path: Path) -> None:
    for name in (".last.ckpt-ab12_xyz", ".metrics.json-abcdefgh", ".per_question.parquet-12345678"):
        (tmp_path / name).touch()
    (tmp_path / ".best_model-abcd1234" / "new").mkdir(parents=True)
    kept = [".gitignore", ".my-settings", ".x.json-long-name", "metrics.json-abcdefgh"]
    for name in kept:
        (tmp_path / name).touch()
    remove_unfinished(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted(kept)


def test_a_folder_whose_old_one_was_taken_away_is_put_in_its_place(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / ".best_model-abcd1234" / name).mkdir(parents=True)
        (tmp_path / ".best_model-abcd1234" / name / "x").write_text(name)
    remove_unfinished(tmp_path)
    assert os.listdir(tmp_path) == ["best_model"]
    assert (tmp_path / "best_model" / "x").read_text() == "new"
