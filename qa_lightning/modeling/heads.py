"""Heads beside the start and end pointers of transformers: scores of pairs, and one of whether there is an answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, gelu

from qa_lightning.modeling.objective import LossTerm, ScoredLogits, TrainingPass
from qa_lightning.utils.bounds import check_between
from qa_lightning.utils.errors import UserError

HeadType = Literal["pointer", "joint", "biaffine"]

_DEFAULTS: dict[str, Any] = {"type": "pointer", "size": 128, "answerability": False}


@dataclass(frozen=True, kw_only=True)
class HeadConfig:
    """The head that scores answers; what is not given is as the model was saved with.

    Args:
        type: ``pointer``: a score of each token as the start and as the end, by transformers' own head. ``joint``: the
            probabilities of ends are given each start. ``biaffine``: a score of each pair of a start and an end.
            Default: that of the model, else ``pointer``.
        size: Numbers that a pair's score is computed from, for each of its two tokens; default: that of the model,
            else 128.
        answerability: Whether a classifier of windows, trained beside, has a part in the score of null.
        answerability_weight: What the classifier's own loss is multiplied by.
    """

    type: HeadType | None = None
    size: int | None = None
    answerability: bool | None = None
    answerability_weight: float = 1.0

    def __post_init__(self) -> None:
        if self.size is not None:
            check_between("model.head.size", self.size, 1)
        check_between("model.head.answerability_weight", self.answerability_weight, 0)

    def resolve(self, saved: Mapping[str, Any]) -> dict[str, Any]:
        """Returns what is saved with a model of this head; empty for that of transformers.

        Args:
            saved: What the model that it starts from was saved with.

        Raises:
            UserError: Where a size is given to a head that has none.
        """
        asked = {name: getattr(self, name) for name in _DEFAULTS}
        values = _DEFAULTS | dict(saved) | {name: value for name, value in asked.items() if value is not None}
        if values["type"] == "pointer":
            if self.size is not None:
                raise UserError("model.head.size is that of the heads joint and biaffine; set model.head.type to one")
            del values["size"]
            return values if values["answerability"] else {}
        return values

    def loss_terms(self, network: Any, gold_weight: float = 1.0) -> tuple[LossTerm, ...]:
        """Makes the term of the classifier, where the network has one.

        Args:
            network: The network.
            gold_weight: What losses of the golds are multiplied by.
        """
        head = getattr(network, "qa_head", None)
        if head is None or not head.answers:
            return ()
        return (Answerability(gold_weight * self.answerability_weight),)


PLAIN_HEAD = HeadConfig()
"""That of the model."""


def check_head(values: Mapping[str, Any]) -> None:
    """Checks the head that a model says it was saved with.

    Raises:
        ValueError: Where there is no such head.
    """
    size = values.get("size", 1)
    if values.get("type") not in ("pointer", "joint", "biaffine"):
        raise ValueError(f"its qa_head has the type {values.get('type')!r:.80}")
    if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= 1 << 16:
        raise ValueError(f"its qa_head has the size {size!r:.80}")
    if values.get("answerability", False) not in (True, False):
        raise ValueError(f"its qa_head has the answerability {values['answerability']!r:.80}")


class TokenScores(NamedTuple):
    """What a head says of each token, wherever its window is; ``[batch, length]`` each.

    Attributes:
        start: Logit of the token as the start.
        end: Logit of the token as the end.
        left: What is multiplied by `right` of an end, where the token is a start; ``[batch, length, size]``.
        right: The other factor, where the token is an end.
        unanswerable: Logit of there being no answer, where the token is that at which null is scored.
        null: What that adds to the score of null.
    """

    start: Tensor
    end: Tensor
    left: Tensor | None = None
    right: Tensor | None = None
    unanswerable: Tensor | None = None
    null: Tensor | None = None

    def mapped(self, function: Callable[[Tensor], Tensor]) -> TokenScores:
        """Returns those that there are as a function changes them."""
        start, end, *others = self
        return TokenScores(
            function(start), function(end), *(None if scores is None else function(scores) for scores in others)
        )


class PairFactors(nn.Module):
    """The factors of the scores of pairs; a biaffine form of two projections (Dozat and Manning, 2017).

    Args:
        hidden_size: Elements of a hidden state.
        size: Elements of a factor.
    """

    def __init__(self, hidden_size: int, size: int) -> None:
        super().__init__()
        self.start = nn.Linear(hidden_size, size)
        self.end = nn.Linear(hidden_size, size)
        self.form = nn.Parameter(torch.zeros(size, size))

    @torch.no_grad()
    def reset(self) -> None:
        """Gives the form its first value, unless one was loaded."""
        from transformers import initialization

        initialization.zeros_(self.form)

    def forward(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Computes both factors of each token; ``[batch, length, size]`` each."""
        return gelu(self.start(states)) @ self.form, gelu(self.end(states))


class QAHead(nn.Module):
    """What is computed from hidden states beside transformers' own start and end logits.

    In the beginning, it adds nothing to these: the biaffine form and the classifier are zero.

    Args:
        hidden_size: Elements of a hidden state.
        values: What `HeadConfig.resolve` returned.
    """

    def __init__(self, hidden_size: int, values: Mapping[str, Any]) -> None:
        super().__init__()
        self.kind: HeadType = values["type"]
        self.answers = bool(values["answerability"])
        if self.kind != "pointer":
            # Under the name of the head, so that none takes the weights of another.
            self.add_module(self.kind, PairFactors(hidden_size, values["size"]))
        if self.answers:
            self.answerability = nn.Linear(hidden_size, 1)
            self.mix = nn.Parameter(torch.ones(1))
            self.reset()

    @property
    def scores_pairs(self) -> bool:
        """Whether end logits are given for each start."""
        return self.kind != "pointer"

    @torch.no_grad()
    def reset(self) -> None:
        """Gives the classifier its first values, unless some were loaded."""
        from transformers import initialization

        if self.answers:
            for parameter in self.answerability.parameters():
                initialization.zeros_(parameter)
            initialization.ones_(self.mix)

    def forward(self, start_logits: Tensor, end_logits: Tensor, states: Tensor) -> TokenScores:
        """Computes what the head says of each token.

        Args:
            start_logits: Transformers' own; ``[batch, length]``.
            end_logits: Likewise.
            states: The last hidden states; ``[batch, length, hidden_size]``.
        """
        left, right = self.get_submodule(self.kind)(states) if self.scores_pairs else (None, None)
        unanswerable = null = None
        if self.answers:
            unanswerable = self.answerability(states).squeeze(-1)
            null = unanswerable * self.mix
        return TokenScores(start_logits, end_logits, left, right, unanswerable, null)

    def join(self, scores: TokenScores, attention_mask: Tensor, null_position: Tensor | None) -> ScoredLogits:
        """Computes the logits of windows; it has no parameters.

        Args:
            scores: What `forward` returned.
            attention_mask: 1 at real positions; int64 ``[batch, length]``.
            null_position: Where null is scored, -1 where it cannot be; int64 ``[batch]``. None: at the first token.

        Returns:
            Start and end logits. The score of null, which is the sum of both at its position, has the part of the
            classifier in it.
        """
        start, end, left, right, unanswerable, null = scores
        answerability = None
        if unanswerable is not None and null is not None:
            if null_position is None:
                null_position = attention_mask.argmax(1)
            place = torch.arange(attention_mask.shape[1], device=attention_mask.device)
            is_null = place == null_position[:, None]
            answerability = torch.where(is_null, unanswerable, 0.0).sum(1)
            added = torch.where(is_null, null, 0.0)
            if right is None:
                start, end = start + added / 2, end + added / 2
            else:
                start = start + added
        if left is not None and right is not None:
            with torch.autocast(start.device.type, enabled=False):
                end = end.float()[:, None] + left.float() @ right.float().mT
            if self.kind == "joint":
                never = torch.finfo(end.dtype).min
                end = end - end.masked_fill(attention_mask[:, None] == 0, never).logsumexp(-1, keepdim=True)
        return ScoredLogits(start, end, answerability)


@dataclass(frozen=True)
class Answerability:
    """Adds the classifier's loss: the binary cross-entropy of whether a window holds no answer.

    Args:
        weight: What it is multiplied by.
    """

    weight: float
    name = "answerability"
    reruns_network = False

    def __call__(self, training_pass: TrainingPass) -> Tensor:
        """Computes the weighted loss, the mean over the windows with a label at which null can be scored.

        Raises:
            UserError: Where the module's ``forward`` is one that leaves the classifier's logits out.
        """
        logits = getattr(training_pass.logits, "answerability", None)
        if logits is None:
            raise UserError("this module's forward does not return the logits of its network's answerability head")
        batch = training_pass.batch
        known = (batch.starts[:, 0] >= 0) & (batch.null_position >= 0)
        is_null = (batch.starts[:, 0] == batch.null_position).float()
        losses = binary_cross_entropy_with_logits(logits.float(), is_null, reduction="none")
        return self.weight * torch.where(known, losses, 0.0).sum() / known.sum().clamp(min=1)
