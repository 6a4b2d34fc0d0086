"""On a GPU: what is learnt and answered is what a CPU learns and answers, and no step waits. ``pytest -m gpu``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch

from qa_lightning import Reader
from qa_lightning.callbacks.checkpoint import RunCheckpoint
from qa_lightning.cli.main import main
from qa_lightning.modeling.packing import kernel_is_exact
from qa_lightning.utils.errors import UserError
from tests.conftest import ROOT
from tests.tiny import PASSAGES, tiny_folder
from tests.training import NO_DROPOUT, StopAt, Watch, make_data, make_module, make_trainer, trains, write_long

pytestmark = [
    *trains,
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU, and torch finds none here"),
]

ON_GPU = {"accelerator": "gpu", "devices": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gpu")
    tiny_folder(folder / "model")
    write_long(folder / "squad.json", copies=3)
    return folder


@pytest.fixture(autouse=True)
def _full_precision(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Has float32 matrices multiplied in float32, as on a CPU."""
    monkeypatch.setattr(torch, "set_float32_matmul_precision", lambda _: None)
    yield
    torch.cuda.set_sync_debug_mode("default")


def train(
    folder: Path,
    *callbacks: pl.Callback,
    trainer: dict[str, Any],
    resume: Path | None = None,
    options: dict[str, Any] | None = None,
    **data: Any,
) -> tuple[list[float], Any]:
    """The losses of two epochs of training without dropout, and the module."""
    pl.seed_everything(5, verbose=False)
    squad = folder / "squad.json"
    losses = Watch(lambda trainer, _: trainer.callback_metrics["train/loss"])
    module = make_module(folder / "model", learning_rate=3e-3, config_overrides=NO_DROPOUT, **options or {})
    questions = make_data(folder / "model", train=squad, validation_file=str(squad), batch_shapes=3, **data)
    made = make_trainer(folder, losses, *callbacks, max_epochs=2, num_sanity_val_steps=0, **trainer)
    made.fit(module, questions, ckpt_path=resume, weights_only=True)
    return [float(loss) for loss in losses.seen], module


def test_batches_are_the_same(folder: Path) -> None:
    data = make_data(folder / "model", train=folder / "squad.json", batch_shapes=2)
    data.setup("fit")
    dataset = data.splits["train"][0].dataset
    rows = [np.arange(3), np.array([5, 1]), np.array([], dtype=np.int64)]
    here = [dataset[some] for some in rows]
    dataset.to(torch.device("cuda"))
    for some, on_cpu in zip(rows, here, strict=True):
        there = dataset[some]
        assert there.starts.device.type == "cuda"
        assert there.ids == on_cpu.ids
        for name in ("starts", "ends", "null_position", "question_mask", "context_mask"):
            assert getattr(there, name).cpu().equal(getattr(on_cpu, name)), name
        for name, values in on_cpu.inputs.items():
            assert there.inputs[name].cpu().equal(values), name


def test_losses_and_scores_are_those_of_a_cpu(folder: Path) -> None:
    there, on_gpu = train(folder, trainer=ON_GPU)
    here, on_cpu = train(folder, trainer={"accelerator": "cpu"})
    assert there == pytest.approx(here, rel=1e-3)
    assert on_gpu.scores[""]["f1"] == pytest.approx(on_cpu.scores[""]["f1"], abs=1)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_no_step_waits_for_the_device(folder: Path, precision: str) -> None:
    class Watched(pl.Callback):
        """Has every wait in a step, but for the first ones that warm up, end in an error."""

        def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
            torch.cuda.set_sync_debug_mode("error" if trainer.global_step > 3 else "default")

        def on_train_batch_end(self, *_: Any) -> None:
            torch.cuda.set_sync_debug_mode("default")

    losses, module = train(folder, Watched(), trainer=ON_GPU | {"limit_val_batches": 0, "precision": precision})
    assert len(losses) > 10
    assert module.packs_windows == (precision == "bf16-mixed")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("size", [8, 64])
def test_the_kernel_for_packed_windows_gives_what_padded_ones_give(dtype: torch.dtype, size: int) -> None:
    assert kernel_is_exact(torch.device("cuda"), dtype, size)


def test_packed_batches_give_the_logits_and_gradients_of_padded_ones(folder: Path) -> None:
    data = make_data(folder / "model", train=folder / "squad.json", batch_size=8)
    module = make_module(folder / "model", packing=True, config_overrides=NO_DROPOUT).to("cuda")
    data.trainer = make_trainer(folder, accelerator="gpu", devices=1)
    data.trainer.strategy.connect(module)
    data.setup("fit")
    for batch in data.train_dataloader():
        there = batch.to("cuda")
        results = []
        for some in (there, replace(there, row_tokens=None)):
            module.zero_grad()
            with torch.autocast("cuda", torch.bfloat16):
                losses, labelled = module.losses(some, *module(some))
            losses[labelled].mean().backward()
            gradients = torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])
            results.append((losses.detach(), gradients))
        (packed, packed_gradients), (padded, padded_gradients) = results
        assert torch.allclose(packed, padded, rtol=0.02, atol=0.02)
        assert (packed_gradients - padded_gradients).norm() < 0.05 * padded_gradients.norm()


@pytest.mark.slow
def test_a_compiled_model_learns_the_same_and_compiles_once(folder: Path) -> None:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    options = {"precision": "bf16-mixed"}
    plain, _ = train(folder, trainer=ON_GPU | options)
    compiled, module = train(folder, trainer=ON_GPU | options, options={"torch_compile": True})
    assert module.packs_windows
    assert compiled[:5] == pytest.approx(plain[:5], rel=0.05)
    assert compiled[-1] == pytest.approx(plain[-1], rel=0.3)
    # One graph for training and one for evaluation.
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] <= 2


def test_a_loss_that_is_not_a_number_stops_training(folder: Path) -> None:
    class Spoil(pl.Callback):
        def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
            if trainer.global_step == 2:
                pl_module.model.qa_outputs.bias.data.fill_(float("nan"))

    with pytest.raises(UserError, match=r"the loss is nan at step 2, in the batch with the questions"):
        train(folder, Spoil(), trainer=ON_GPU)


def test_a_stopped_training_goes_on(folder: Path, tmp_path: Path) -> None:
    _, whole = train(folder, trainer=ON_GPU)
    checkpoint = RunCheckpoint(every_n_train_steps=2)
    with pytest.raises(ValueError, match="killed"):
        train(folder, checkpoint, StopAt(ValueError("killed"), 5), trainer=ON_GPU)
    last = Path(str(checkpoint.dirpath), "last.ckpt")
    _, resumed = train(folder, RunCheckpoint(), trainer=ON_GPU, resume=last)
    for name, weights in whole.state_dict().items():
        assert torch.allclose(resumed.state_dict()[name], weights, rtol=1e-4, atol=1e-6), name


def test_a_reader_answers_as_on_a_cpu(folder: Path) -> None:
    questions = [{"question": question, "context": context} for context, asked in PASSAGES for question, _ in asked]
    answers = [
        Reader.from_pretrained(folder / "model", device=device, max_seq_len=48, doc_stride=8, max_question_len=12)(
            questions
        )
        for device in ("cuda", "cpu")
    ]
    for there, here in zip(*answers, strict=True):
        assert there["answer"] == here["answer"]
        assert there["score"] == pytest.approx(here["score"], abs=1e-4)


@pytest.mark.slow
def test_the_quickstart_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # as a user has it
    monkeypatch.chdir(ROOT)
    run = tmp_path / "run"
    assert main(["fit", "--config", "configs/quickstart.yaml", "--run_dir", str(run)]) == 0
    assert json.loads((run / "metrics.json").read_text())["val/f1"] >= 90
