"""EM and F1 as a torchmetrics metric that gives the same figures on any number of processes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from qa_lightning.records import Prediction
from qa_lightning.scoring.figures import BEST, THRESHOLD
from qa_lightning.scoring.squad import Scorer, score_question, summarize
from qa_lightning.scoring.thresholds import best_threshold

# What is kept of a question: its row in the data; whether it is answerable; its null odds (NaN where not
# known); EM and F1 of the predicted text, of the best text that is not empty, and of the empty text.
_COLUMNS = 9


class ExtractiveQA(Metric):
    """EM, F1, and their best values over all null thresholds, for the questions predicted so far.

    Each question is one row of float64 numbers. The rows are kept and sent as the int64 that have the same
    bits, which no half precision around the metric rounds, and which devices without float64 hold as well.

    Args:
        score: The rule by which a prediction is scored.
    """

    full_state_update = False
    higher_is_better = True
    rows: list[Tensor]

    def __init__(self, score: Scorer = score_question) -> None:
        super().__init__()
        self.score = score
        self.add_state("rows", default=[], dist_reduce_fx="cat")
        self.reset()

    def reset(self) -> None:
        """Forgets all questions."""
        super().reset()
        # Processes exchange tensors of one dtype and number of dimensions, also those that saw no question.
        self.rows.append(torch.empty(0, _COLUMNS, dtype=torch.int64, device=self.device))

    @property
    def update_called(self) -> bool:
        """Always true: a process, or an epoch, without a question is nothing to warn of."""
        return True

    def update(self, predictions: Sequence[Prediction]) -> None:
        """Scores predictions; those whose golds are not known are left out."""
        rows = [
            _state_row(prediction, self.score) for prediction in predictions if prediction.question.golds is not None
        ]
        if rows:
            scored = torch.from_numpy(np.array(rows, dtype=np.float64).view(np.int64))
            if self.device.type == "cuda":
                scored = scored.pin_memory()  # from other memory, a copy waits for the GPU's work on the next batch
            self.rows.append(scored.to(self.device, non_blocking=True))

    def compute(self) -> dict[str, float]:
        """Computes the figures, 0 to 100, over the questions of all processes, each counted once.

        Returns:
            Nothing where no question was scored; else ``exact_match``, ``f1`` and ``total``. Where there are
            unanswerable questions, also ``exact``, ``f1`` and ``total`` with the prefixes ``NoAns_`` and
            ``HasAns_``. Where their null odds are known too, ``best_exact``, ``best_exact_thresh``,
            ``best_f1`` and ``best_f1_thresh``: the best figures that a threshold could give, which answers
            a question where its null odds are at or below it.
        """
        # A state is a list before the processes exchange it, and one tensor after.
        states = self.rows if isinstance(self.rows, list) else [self.rows]
        table = torch.cat(states).cpu().numpy().view(np.float64)
        # Sorted by row: a question that a sampler gave to two processes counts once, and sums have one order.
        _, first = np.unique(table[:, 0], return_index=True)
        if not len(first):
            return {}
        _, answerable, null_odds, exact, f1, span_exact, span_f1, null_exact, null_f1 = table[first].T
        has_answer = answerable == 1
        scores = summarize(exact, f1, has_answer)
        figures = {"exact_match": scores.pop("exact"), "f1": scores.pop("f1"), "total": scores.pop("total")}
        if not has_answer.all():
            figures |= scores
            if not np.isnan(null_odds).any():
                for name, answered, null in (("exact", span_exact, null_exact), ("f1", span_f1, null_f1)):
                    best, threshold = best_threshold(answered, null, null_odds)
                    figures |= {f"{BEST}{name}": best, f"{BEST}{name}{THRESHOLD}": threshold}
        return {key: float(value) for key, value in figures.items()}


def _state_row(prediction: Prediction, score: Scorer) -> tuple[float, ...]:
    golds = prediction.question.golds or ()
    span = prediction.answers.span
    null_odds = np.nan if prediction.null_odds is None else prediction.null_odds
    return (
        prediction.question.row,
        len(golds) > 0,
        null_odds,
        *score(prediction.text, golds),
        *score(span.text if span else "", golds),
        *score("", golds),
    )
