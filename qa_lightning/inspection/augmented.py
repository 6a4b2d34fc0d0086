"""Examples of what augmentation makes of a training's questions."""

from __future__ import annotations

from qa_lightning.data.augmented_windows import AugmentedWindows
from qa_lightning.data.datamodule import QADataModule
from qa_lightning.inspection.statistics import Example, around, drawn

AUGMENTED = 3
"""Most questions that are shown augmented."""


def augmented_examples(data: QADataModule, count: int, seed: int) -> list[Example]:
    """Some training questions as they may be in an epoch; none where augmentation is off.

    Args:
        data: Data that are set up.
        count: How many questions at most; no more than `AUGMENTED` are shown.
        seed: Of the draw.
    """
    if not count or not data.augmentation.is_on or not data.splits.get("train"):
        return []
    windows = data.training_sets(seed)[0]
    assert isinstance(windows, AugmentedWindows)
    examples = []
    for row in drawn(data.splits["train"][0], min(count, AUGMENTED), seed).tolist():
        question, passage = windows.augmented_text(row, 0)
        before, answer, after = around(passage.text, passage.spans[0] if passage.spans else None)
        examples.append(Example(f"{windows.ids[row]}, augmented", question, before, answer, after, answer, ()))
    return examples
