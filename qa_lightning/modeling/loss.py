"""The loss of the gold spans, as pure functions of logits: the plain one, and those that training may use instead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

from qa_lightning.decoding.pairs import end_logits_of, near_ends, pair_logits, scores_pairs
from qa_lightning.records import Batch
from qa_lightning.utils.bounds import check_between
from qa_lightning.utils.errors import UserError

Normalization = Literal["pointers", "spans"]


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """What training minimises; by default, what ``val/loss`` is, too.

    Attributes:
        normalization: ``pointers``: start and end are two distributions over the tokens. ``spans``: one distribution
            over the spans that may be answers, of at most ``max_answer_length`` tokens, and null.
        label_smoothing: Share of the probability that is spread over all valid places, or spans, instead of the golds;
            at least 0, below 1.
        null_focal_gamma: How much windows without an answer count less, the surer the model is of that: their losses
            are multiplied by ``(1 - p(null)) ** gamma`` (Lin et al., 2017). 0: they count as all others.
        answer_window_weight: What the losses of windows that hold an answer are multiplied by.
    """

    normalization: Normalization = "pointers"
    label_smoothing: float = 0.0
    null_focal_gamma: float = 0.0
    answer_window_weight: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise UserError(f"model.loss.label_smoothing must be at least 0 and below 1, not {self.label_smoothing}")
        check_between("model.loss.null_focal_gamma", self.null_focal_gamma, 0)
        check_between("model.loss.answer_window_weight", self.answer_window_weight, 0)


PLAIN_LOSS = LossConfig()


def span_loss(
    start_logits: Tensor, end_logits: Tensor, attention_mask: Tensor, starts: Tensor, ends: Tensor
) -> tuple[Tensor, Tensor]:
    """Computes half the negative marginal log-likelihood of the gold spans of each window.

    ``-½ log Σ p(start) p(end)`` over the golds (Clark and Gardner, 2018, over spans); with one gold this is the
    usual mean of two cross-entropies. The probabilities are over real positions: padding gets none. Where a head scores
    pairs, p(start) p(end) is the softmax over all pairs of real positions, which it is in any case.

    Args:
        start_logits: Scores of each token as the first; floating point, ``[batch, length]``.
        end_logits: Scores of each token as the last; floating point, ``[batch, length]``, or given each token as the
            first, ``[batch, length, length]``.
        attention_mask: 1 at real positions; int64 ``[batch, length]``.
        starts: First tokens of the golds, padded with -1; int64 ``[batch, golds]``.
        ends: Their last tokens, inclusive, padded with -1; int64 ``[batch, golds]``.

    Returns:
        The loss of each window, float32 ``[batch]``, zero where it has no gold, and whether it has one, bool
        ``[batch]``.
    """
    never = torch.finfo(torch.float32).min  # finite, so that what it masks has gradient zero, not NaN
    padding = attention_mask == 0
    first, last = starts.clamp(min=0), ends.clamp(min=0)
    if scores_pairs(end_logits):
        pairs = pair_logits(start_logits, end_logits)
        pairs = pairs.masked_fill(padding[:, :, None] | padding[:, None], never).flatten(1).log_softmax(-1)
        scores = pairs.gather(1, first * padding.shape[1] + last)
    else:
        start, end = (
            logits.float().masked_fill(padding, never).log_softmax(-1).gather(1, places)
            for logits, places in ((start_logits, first), (end_logits, last))
        )
        scores = start + end
    labelled = starts[:, 0] >= 0
    likelihood = scores.masked_fill(starts < 0, never).logsumexp(-1)
    return torch.where(labelled, -likelihood / 2, 0.0), labelled


def training_loss(
    start_logits: Tensor, end_logits: Tensor, batch: Batch, config: LossConfig, max_answer_length: int
) -> tuple[Tensor, Tensor]:
    """Computes the loss of each window that training minimises.

    With the plain configuration, it is that of `span_loss`, up to rounding. All losses are halves of negative
    log-likelihoods of spans, so that a learning rate that suits one suits the others.

    Args:
        start_logits: Scores of each token as the first; floating point, ``[batch, length]``.
        end_logits: Scores of each token as the last; floating point, ``[batch, length]``, or given each token as the
            first, ``[batch, length, length]``.
        batch: The batch, with its golds.
        config: Which loss.
        max_answer_length: Most tokens of a span that may be an answer.

    Returns:
        The loss of each window, float32 ``[batch]``, zero where it has no gold, and whether it has one, bool
        ``[batch]``.
    """
    attention_mask = batch.inputs["attention_mask"][: len(batch)]
    is_null_place = torch.nn.functional.one_hot(batch.null_position.clamp(min=0), start_logits.shape[1]).bool()
    is_null_place &= batch.null_position[:, None] >= 0
    labelled = batch.starts[:, 0] >= 0
    if config.normalization == "spans":
        total, losses = _joint_losses(start_logits, end_logits, batch, is_null_place, max_answer_length)
    else:
        losses, _ = span_loss(start_logits, end_logits, attention_mask, batch.starts, batch.ends)
    weights = torch.ones_like(losses)
    is_null = labelled & (batch.starts[:, 0] == batch.null_position)
    if config.null_focal_gamma:
        # By the tiniest number instead of zero, whose power has no gradient below an exponent of one.
        unsure = -torch.expm1(-2 * losses).clamp(max=-torch.finfo(losses.dtype).tiny)
        weights = torch.where(is_null, unsure**config.null_focal_gamma, weights)
    weights = torch.where(is_null, weights, config.answer_window_weight)
    if config.label_smoothing:
        if config.normalization == "spans":
            mean = _mean_span_score(start_logits, end_logits, batch.context_mask, is_null_place, max_answer_length)
            uniform = (total - mean) / 2
        else:
            valid = batch.context_mask | is_null_place
            uniform = _uniform_pointer_loss(start_logits, end_logits, attention_mask, valid)
        losses = torch.lerp(losses, uniform, config.label_smoothing)
    return torch.where(labelled, weights * losses, 0.0), labelled


def _uniform_pointer_loss(start_logits: Tensor, end_logits: Tensor, attention_mask: Tensor, valid: Tensor) -> Tensor:
    """The cross-entropy with a uniform distribution over the valid places, the mean of start and end; ``[batch]``.

    Where a head scores pairs, it is half that with a uniform distribution over all pairs of these.
    """
    padding = attention_mask == 0
    if scores_pairs(end_logits):
        pairs = pair_logits(start_logits, end_logits).flatten(1)
        padding, valid = ((padding[:, :, None] | padding[:, None]), (valid[:, :, None] & valid[:, None]))
        return _uniform_loss(pairs, padding.flatten(1), valid.flatten(1)) / 2
    start, end = (_uniform_loss(logits, padding, valid) for logits in (start_logits, end_logits))
    return (start + end) / 2


def _uniform_loss(logits: Tensor, padding: Tensor, valid: Tensor) -> Tensor:
    never = torch.finfo(torch.float32).min
    log_p = logits.float().masked_fill(padding, never).log_softmax(-1)
    return -log_p.masked_fill(~valid, 0.0).sum(-1) / valid.sum(-1).clamp(min=1)


def _joint_losses(
    start_logits: Tensor, end_logits: Tensor, batch: Batch, is_null_place: Tensor, max_answer_length: int
) -> tuple[Tensor, Tensor]:
    """The log of the sum over all valid spans, and half the negative log-likelihood of the golds among these.

    A gold that is no valid span, as one of more tokens, is one more choice of its window.
    """
    never = torch.finfo(torch.float32).min / 4  # the sum of some of them is still finite
    width = min(max_answer_length, start_logits.shape[1])
    start, end = start_logits.float(), end_logits.float()
    context = batch.context_mask
    of_start = start.masked_fill(~context, never) + _ends_of_spans(end, context, width, never).logsumexp(-1)
    null = (start + _own_ends(end)).masked_fill(~is_null_place, never).logsumexp(-1)
    total = torch.logaddexp(of_start.logsumexp(-1), null)

    starts, lasts = batch.starts.clamp(min=0), batch.ends.clamp(min=0)
    scores = (start.gather(1, starts) + end_logits_of(end, starts, lasts)).masked_fill(batch.starts < 0, never)
    inside = context.gather(1, starts) & context.gather(1, lasts) & (lasts >= starts) & (lasts - starts < width)
    inside |= (batch.starts == batch.null_position[:, None]) & (starts == lasts)
    total = torch.logaddexp(total, scores.masked_fill(inside, never).logsumexp(-1))
    return total, (total - scores.logsumexp(-1)) / 2


def _ends_of_spans(end: Tensor, context: Tensor, width: int, fill: float) -> Tensor:
    """The logits of the ends of spans that start at each token; ``[batch, start, width]``."""
    if scores_pairs(end):
        return near_ends(end.masked_fill(~context[:, None], fill), width, fill)
    return pad(end.masked_fill(~context, fill), (0, width - 1), value=fill).unfold(1, width, 1)


def _own_ends(end: Tensor) -> Tensor:
    """The logit of each token as the end of the span of itself; ``[batch, length]``."""
    return end.diagonal(dim1=1, dim2=2) if scores_pairs(end) else end


def _mean_span_score(
    start_logits: Tensor, end_logits: Tensor, context: Tensor, is_null_place: Tensor, max_answer_length: int
) -> Tensor:
    """The mean, over all valid spans, of start plus end logit; ``[batch]``."""
    width = min(max_answer_length, start_logits.shape[1])
    # Each token is the start, or the end, of as many valid spans as there are places for the other.
    places, null = context.float(), is_null_place.float()
    of_start = pad(places, (0, width - 1)).unfold(1, width, 1)
    as_start = null + places * of_start.sum(-1)
    if scores_pairs(end_logits):
        near = near_ends(end_logits.float(), width, 0.0)
        ends = (places * (of_start * near).sum(-1)).sum(-1) + (null * _own_ends(end_logits)).sum(-1)
    else:
        as_end = null + places * pad(places, (width - 1, 0)).unfold(1, width, 1).sum(-1)
        ends = (as_end * end_logits.float()).sum(-1)
    sums = (as_start * start_logits.float()).sum(-1) + ends
    return sums / as_start.sum(-1).clamp(min=1)
