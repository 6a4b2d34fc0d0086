"""What `benchmarks.gpu` measures: models, ways to run them, and in which order at which size; imports no torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Literal, NamedTuple

from benchmarks.data import QUESTIONS

Kind = Literal["card", "train", "validate", "epoch", "peer", "predict", "fail", "hang"]
GpuSize = Literal["small", "full", "dry"]

SQUAD_QUESTIONS = QUESTIONS["full"]
SQUAD_VALIDATED = 10_570
"""Questions of SQuAD 1.1's validation set."""


@dataclass(frozen=True)
class Model:
    """A model, and the windows that it is trained on.

    Attributes:
        title: What tables call it.
        shape: The name of its `benchmarks.models.Shape`.
        batch: Windows in a training batch.
        max_length: Tokens of a window at most.
        joined: Paragraphs in a context: 1 makes SQuAD's lengths, many make windows that are nearly all full.
    """

    title: str
    shape: str
    batch: int = 32
    max_length: int = 384
    joined: int = 1


LONG = 160
"""Paragraphs of a long context: some 24,000 tokens, of which all windows but the last are full."""

MODELS = {
    "distilbert": Model("DistilBERT", "DISTILBERT"),
    "roberta": Model("RoBERTa-base", "ROBERTA"),
    "bert-large": Model("BERT-large, full rows of 384, batch 64", "BERT_LARGE", batch=64, joined=LONG),
    "deberta": Model("DeBERTa-v3-base", "DEBERTA"),
    "modernbert": Model("ModernBERT-base", "MODERNBERT"),
    "modernbert-4096": Model("ModernBERT-base, 4,096 tokens", "MODERNBERT", batch=8, max_length=4096, joined=LONG),
}


@dataclass(frozen=True)
class Variant:
    """One way to do the work.

    Attributes:
        kind: What is done.
        options: Arguments of `QALightningModule`, or of transformers' ``TrainingArguments``.
        pad: To what the peer pads: a multiple of so many tokens, or, as None, all windows to the greatest length.
        limit: Seconds after which it is killed, where not the plan's.
    """

    kind: Kind
    options: dict[str, Any] = field(default_factory=dict)
    pad: int | None = None
    limit: float | None = None


_WORKERS: dict[str, Any] = {"dataloader_num_workers": 4}
_SORTED: dict[str, Any] = {"train_sampling_strategy": "group_by_length"}
_BEST = _WORKERS | {"dataloader_persistent_workers": True, "logging_nan_inf_filter": False}  # which waits for the GPU
_GROUPED = _BEST | _SORTED
_PADDINGS: dict[str, tuple[dict[str, Any], int | None]] = {
    "trainer-padded": (_BEST, None),
    "trainer-grouped": (_GROUPED, 1),
    "trainer-grouped-8": (_GROUPED, 8),
    "trainer-grouped-64": (_GROUPED, 64),
}

PEERS = {
    name + suffix: Variant("peer", options | {"torch_compile": bool(suffix)}, pad)
    for suffix, (name, (options, pad)) in product(("-compiled", ""), _PADDINGS.items())
}
"""Transformers' ``Trainer`` in bfloat16 with a fused AdamW and four workers that pin memory."""

OURS = {
    "ours": Variant("train"),
    "ours-unpacked": Variant("train", {"packing": False}),
    "ours-uncompiled": Variant("train", {"torch_compile": False}),
    "ours-plain": Variant("train", {"packing": False, "torch_compile": False}),
    "ours-packed": Variant("train", {"packing": True, "torch_compile": False}),
}
"""Nothing is passed to the first, so that it is what a user gets; the last one shows what padding is left."""

VARIANTS: dict[str, Variant] = {
    "card": Variant("card", {"epoch": False}, limit=120),  # the first to read torch from a disk that may be slow
    "card-epoch": Variant("card", {"epoch": True}, limit=300),
    **OURS,
    **PEERS,
    "trainer-example": Variant("peer", {"dataloader_num_workers": 0}),
    "ours-validated": Variant("validate"),
    "trainer-validated": Variant("predict", _WORKERS),
    "trainer-validated-64": Variant("predict", _WORKERS | _SORTED, 64),
    "ours-epoch": Variant("epoch"),
    "ours-epoch-again": Variant("epoch"),
    "fails": Variant("fail"),
    "hangs": Variant("hang", limit=2),
}
"""``card`` measures the matrix rate and fills the cache of tokens, that of a whole epoch, too, where one is measured;
``-again`` finds what the run before it compiled."""

MEANT_TO_FAIL = ("fails", "hangs")

Run = tuple[str, str]
"""A model and a variant, by their names."""


class Plan(NamedTuple):
    """The size of a measurement.

    Attributes:
        runs: Models and variants, the ones that bars ask for first.
        questions: So many are trained on, in two epochs: one that warms up and one that is timed.
        long_questions: The same where contexts are long.
        validated: Questions of the validation.
        epoch: Questions of the whole epoch.
        timed: The timed epoch ends after so many seconds at the latest; its order is random.
        limit: Seconds after which a variant is killed.
        total: Seconds after which no variant goes on; None: no limit.
        product: Rows and columns of the matrices whose product is the measure.
    """

    runs: list[Run]
    questions: int
    long_questions: int
    validated: int
    epoch: int
    timed: float
    limit: float
    total: float | None
    product: int


def _runs(models: Iterable[str], variants: Iterable[str]) -> list[Run]:
    return list(product(models, variants))


CARDS = ("card", "card-epoch")

_ALL = [name for name in VARIANTS if name not in (*CARDS, *MEANT_TO_FAIL)]
_COMPARED = ["ours", "ours-plain", "trainer-padded-compiled", "trainer-grouped-64-compiled", "trainer-grouped-64"]

EVERYTHING: list[Run] = [
    *_runs(["distilbert"], _ALL),
    *_runs(["roberta"], [*OURS, *PEERS]),
    *_runs(["bert-large"], [*OURS, "trainer-padded-compiled", "trainer-padded"]),
    *_runs(["deberta", "modernbert", "modernbert-4096"], _COMPARED),
]

SMALL: list[Run] = [
    *_runs(["distilbert", "roberta"], ["ours", "trainer-padded-compiled"]),
    ("bert-large", "ours"),
    *_runs(["distilbert"], ["ours-validated", "trainer-grouped-64-compiled", "ours-plain", "ours-packed"]),
    *_runs(["distilbert"], ["trainer-grouped-64", "trainer-padded"]),
]

DRY: list[Run] = [
    *_runs(["distilbert"], ["ours", *MEANT_TO_FAIL]),
    *_runs(["distilbert"], [name for name in _ALL if name != "ours"]),
    *_runs([name for name in MODELS if name != "distilbert"], ["ours", "trainer-grouped-64"]),
]

PLANS: dict[GpuSize, Plan] = {
    "small": Plan(SMALL, 6_000, 24, 4_000, SQUAD_QUESTIONS, timed=8, limit=60, total=145, product=8192),
    "full": Plan(
        EVERYTHING, 13_000, 60, SQUAD_VALIDATED, SQUAD_QUESTIONS, timed=30, limit=600, total=None, product=8192
    ),
    "dry": Plan(DRY, 12, 2, 6, 12, timed=8, limit=120, total=None, product=64),
}


def chosen(size: GpuSize, models: list[str] | None, variants: list[str] | None) -> list[Run]:
    """Chooses the plan's runs; with names, all known runs that have them.

    Args:
        size: How much.
        models: Names; None: all.
        variants: Names, of which ``peers`` stands for all ways of `PEERS`; None: all.

    Raises:
        SystemExit: Where a name is unknown, or no run has it.
    """
    if variants:
        variants = [variant for name in variants for variant in (PEERS if name == "peers" else [name])]
    unknown = set(models or ()) - set(MODELS) | set(variants or ()) - set(VARIANTS)
    if unknown:
        raise SystemExit(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join([*MODELS, *VARIANTS])}")
    runs = PLANS[size].runs
    if models or variants:
        known = dict.fromkeys([*runs, *EVERYTHING])
        runs = [run for run in known if run[0] in (models or MODELS) and run[1] in (variants or VARIANTS)]
    if not runs:
        raise SystemExit("no such variant is measured of these models")
    return runs
