"""Training and validation on a GPU, in bfloat16, beside transformers' ``Trainer``: the same model, windows and card.

``Trainer`` is measured as transformers' question-answering example runs it, with every window padded to 384, and at its
best: windows padded to the longest of their batch, and batches of training grouped by length. Its validation ends with
the logits of all windows, ours with scored answers. Features are made before the clock starts.

The training steps that are timed are full batches of each side's own epoch, taken evenly over their lengths, behind
some that warm up; the seconds of an epoch follow from their rate. A validation is timed whole. The share of the card is
that of the rate of a large product of matrices, measured before; counted are the products that the windows' own tokens
take in the forward and backward pass, without padding, so that it tells how much of the time goes to what has to be
done.

Not among what ``python -m benchmarks`` runs. Without a GPU it says so, with exit status 1; where a package that
``Trainer`` needs is not installed, ours stands alone. Of several GPUs, the first is taken.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import DataLoader

from benchmarks.data import QUESTIONS
from benchmarks.harness import Row, Size, main, row
from benchmarks.limit import matrix_rate, operations
from benchmarks.models import DISTILBERT, ROBERTA, Accelerator, Shape, make_data, make_module, write_model
from benchmarks.timed import Batches, timed_fit, timed_predict, timed_trainer, timed_validation
from benchmarks.train import grouped, spread, warmed
from qa_lightning.data.collate import WindowDataset
from qa_lightning.data.datamodule import GPU_SHAPES

BATCH = 32
EVALUATION_BATCH = 64

PEERS = {"Trainer as the example runs it": True, "Trainer at its best": False}
"""Whether it pads all windows to one length."""


class Plan(NamedTuple):
    """How much is measured.

    Attributes:
        shapes: Which models.
        questions: From so many an epoch is made.
        validated: Questions of the validation.
        steps: Timed steps where lengths differ.
        padded_steps: Timed steps where all are padded to one length.
        warm_up: Steps before.
        product: Rows and columns of the matrices whose product is the measure.
        compiled: Whether to train a compiled model, too.
    """

    shapes: tuple[Shape, ...]
    questions: int
    validated: int
    steps: int
    padded_steps: int
    warm_up: int
    product: int
    compiled: bool


PLANS: dict[Size, Plan] = {
    "small": Plan(
        (DISTILBERT,),
        questions=13_000,
        validated=2_000,
        steps=100,
        padded_steps=40,
        warm_up=20,
        product=8192,
        compiled=False,
    ),
    "full": Plan(
        (DISTILBERT, ROBERTA),
        questions=QUESTIONS["full"],
        validated=10_570,
        steps=500,
        padded_steps=150,
        warm_up=30,
        product=8192,
        compiled=True,
    ),
}


class Pace(NamedTuple):
    """How fast something went.

    Attributes:
        windows: Per second.
        operations: Floating-point operations per second.
    """

    windows: float
    operations: float


class Machine(NamedTuple):
    """What it is measured on.

    Attributes:
        accelerator: What computes.
        matrix_rate: Floating-point operations per second of a large product of matrices.
        lacking: Packages that ``Trainer`` needs and that are not there.
    """

    accelerator: Accelerator
    matrix_rate: float
    lacking: list[str]


def work(network: nn.Module, lengths: NDArray[np.int64], *, backward: bool) -> int:
    """Floating-point operations that windows take in batches without padding.

    Args:
        network: The model.
        lengths: Tokens of each window; ``[windows]``.
        backward: Whether they are trained on.
    """
    kinds, counts = np.unique(lengths, return_counts=True)
    pairs = zip(counts.tolist(), kinds.tolist(), strict=True)
    return sum(operations(network, windows, length, backward=backward) for windows, length in pairs)


def train_pace(
    network: nn.Module, lengths: NDArray[np.int64], batches: Batches, ends: list[float], warm_up: int
) -> Pace:
    """The pace of the steps behind the warm-up, from when each ended."""
    trained = lengths[np.concatenate(batches[warm_up:])]
    seconds = ends[-1] - ends[warm_up - 1]
    return Pace(len(trained) / seconds, work(network, trained, backward=True) / seconds)


def measure(plan: Plan, accelerator: Accelerator = "cuda") -> list[Row]:
    """The benchmark at a size; a CPU is for trying the program."""
    name = torch.cuda.get_device_name() if accelerator == "cuda" else "the CPU"
    machine = Machine(
        accelerator,
        matrix_rate(plan.product, plan.product, 50, torch.bfloat16, accelerator),
        [package for package in ("accelerate", "datasets") if find_spec(package) is None],
    )
    what = f"TFLOP/s of {name}, bfloat16 matrices of {plan.product:,} rows and columns"
    rows = [row("gpu", what, machine.matrix_rate / 1e12, unit="TFLOP/s")]
    for shape in plan.shapes:
        with tempfile.TemporaryDirectory() as temporary:
            folder = write_model(shape, Path(temporary))
            rows += _training(shape, plan, folder, machine)
            rows += _validation(shape, plan, folder, machine)
    return rows


def _training(shape: Shape, plan: Plan, folder: Path, machine: Machine) -> list[Row]:
    accelerator = machine.accelerator
    whole = make_data(folder, plan.questions, "train", batch_size=BATCH, batch_shapes=GPU_SHAPES).train_dataloader()
    dataset = whole.dataset
    assert isinstance(dataset, WindowDataset)
    lengths = dataset.lengths
    shapes = dataset.shapes
    assert shapes is not None
    steps = spread(list(whole.sampler), lengths, plan.steps)
    # The warm-up sees every shape that is timed.
    of_shape = {int(shapes.which(lengths[rows].max())): rows for rows in steps}
    warm_up = max(plan.warm_up, len(of_shape))
    picked = warmed(list(of_shape.values()), warm_up)[:warm_up] + steps

    def ours(**options: Any) -> Pace:
        module = make_module(folder, **options)
        loader = DataLoader(dataset.to(torch.device(accelerator)), batch_size=None, sampler=picked)
        ends = timed_fit(module, loader, folder, "bf16-mixed", accelerator)
        return train_pace(module.model, lengths, picked, ends, warm_up)

    def theirs(padded: bool) -> Pace:
        network = make_module(folder).model
        steps = plan.padded_steps if padded else plan.steps
        batches = warmed(spread(grouped(lengths, BATCH), lengths, steps), plan.warm_up)
        dataset.to(torch.device("cpu"))
        ends = timed_trainer(network, dataset, batches, folder, padded=padded, bf16=True, accelerator=accelerator)
        return train_pace(network, lengths, batches, ends, plan.warm_up)

    what = f"{shape.name} trained"
    plain = ours()
    variants = {"compiled beside not": ours(torch_compile=True)} if plan.compiled else {}
    peers = {} if machine.lacking else {name: theirs(padded) for name, padded in PEERS.items()}
    return _rows(what, "an epoch", len(dataset), plain, peers, machine) + [
        row(
            "gpu", f"windows/s, {what}, {variant}", pace.windows, peer=plain.windows, unit="windows/s", note="both ours"
        )
        for variant, pace in variants.items()
    ]


def _validation(shape: Shape, plan: Plan, folder: Path, machine: Machine) -> list[Row]:
    data = make_data(folder, plan.validated, "validation", eval_batch_size=EVALUATION_BATCH)
    dataset = data.splits["validation"][0].dataset
    module = make_module(folder)
    needed = work(module.model, dataset.lengths, backward=False)

    def pace(seconds: float) -> Pace:
        return Pace(len(dataset) / seconds, needed / seconds)

    shared: dict[str, Any] = {"accelerator": machine.accelerator, "warm_up": plan.warm_up}
    ours = pace(timed_validation(module, data, folder, **shared))
    dataset.to(torch.device("cpu"))
    predict = partial(timed_predict, module.model, dataset, folder, batch_size=EVALUATION_BATCH, **shared)
    peers = {} if machine.lacking else {name: pace(predict(padded=padded)) for name, padded in PEERS.items()}
    return _rows(f"{shape.name} validated", "a validation", len(dataset), ours, peers, machine)


def _rows(what: str, whole: str, windows: int, ours: Pace, peers: Mapping[str, Pace], machine: Machine) -> list[Row]:
    """Windows per second, the share of the matrix rate and the seconds of the whole, beside each peer or alone.

    Args:
        what: What was done.
        whole: What all windows make.
        windows: How many these are.
        ours: Our pace.
        peers: The others', by their names.
        machine: Where.
    """
    rate = machine.matrix_rate
    note = f"no Trainer, which needs {' and '.join(machine.lacking)}" if machine.lacking else ""
    figures: tuple[tuple[str, str, Callable[[Pace], float]], ...] = (
        ("windows/s", "windows/s", lambda pace: pace.windows),
        ("% of the matrix rate", "%", lambda pace: 100 * pace.operations / rate),
        (f"seconds of {whole} of {windows:,} windows", "s", lambda pace: windows / pace.windows),
    )
    return [
        row(
            "gpu",
            f"{name}, {what}" + (f", beside {beside}" if beside else ""),
            figure(ours),
            peer=peer and figure(peer),
            higher_is_better=unit != "s",
            unit=unit,
            note=note,
        )
        for beside, peer in peers.items() or [("", None)]
        for name, unit, figure in figures
    ]


def run(size: Size) -> list[Row]:
    """The benchmark.

    Raises:
        SystemExit: Without a GPU.
    """
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")  # of several, Trainer would take all
    if not torch.cuda.is_available():
        raise SystemExit("benchmarks.gpu needs a GPU, and torch finds none here")
    return measure(PLANS[size])


if __name__ == "__main__":
    main(run, __doc__)
