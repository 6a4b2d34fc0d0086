"""The table of an optimizer's groups of parameters: their sizes, learning rates and decays."""

from __future__ import annotations

from qa_lightning.inspection.tables import Table
from qa_lightning.modeling.module import QALightningModule
from qa_lightning.modeling.parameter_groups import group_rows


def optimizer_table(module: QALightningModule) -> Table:
    """A row for each group of the optimizer that would train a module, and one for what stays frozen."""
    optimizer = module.make_optimizer()
    rows = [
        (name, f"{weights:,}", *("" if number is None else f"{number:.3g}" for number in (rate, decay)))
        for name, weights, rate, decay in group_rows(module.model, optimizer)
    ]
    head = ["", "weights", "learning rate", "weight decay"]
    return Table(f"Optimizer: {type(optimizer).__name__}", head, [("at the peak of the schedule", rows)])
