"""Answers from many documents in the slow and obvious way: all logits of all of them in memory, and one softmax."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from qa_lightning import Reader
from qa_lightning.decoding.decoder import answer_logits
from qa_lightning.reader.inputs import Pair
from qa_lightning.reader.settings import Settings

Place = tuple[int, int, int]
"""A document, and start and end in it; null is `NULL`."""

NULL: Place = (-1, 0, 0)


def all_scores(reader: Reader, question: str, contexts: Sequence[str], settings: Settings) -> dict[Place, float]:
    """The score of every span of every document, and the lowest null of all windows."""
    scores: dict[Place, float] = {}
    nulls = []
    model: Any = reader.scorer
    for document, context in enumerate(contexts):
        for batch, starts, ends in model.score([Pair(question, context)], settings).batches:
            own = [logits.tolist() for logits in answer_logits(batch, starts, ends)]
            for window, (of_start, of_end, offsets) in enumerate(zip(*own, strict=True)):
                place = int(batch.null_position[window])
                nulls.append(float(starts[window, place]) + float(ends[window, place]))
                inside = batch.context_mask[window].tolist()
                for first in range(len(inside)):
                    for last in range(first, min(first + settings.max_answer_len, len(inside))):
                        score = of_start[first] + of_end[last]
                        span = (document, offsets[first][0], offsets[last][1])
                        if inside[first] and inside[last] and math.isfinite(score) and span[1] < span[2]:
                            scores[span] = max(score, scores.get(span, -math.inf))
    if settings.handle_impossible_answer:
        scores[NULL] = min(nulls)
    return scores


def expected(reader: Reader, question: str, contexts: Sequence[str], **changed: Any) -> list[dict[str, Any]]:
    """What a Reader should answer."""
    settings = reader.settings.updated(changed)
    scores = all_scores(reader, question, contexts, settings)
    spans = sorted((place for place in scores if place != NULL), key=lambda place: (-scores[place], place))
    size = settings.n_best_size
    kept = spans[:size]
    if NULL in scores:
        better = sum(scores[place] >= scores[NULL] for place in kept)
        kept = kept if better == size else kept[: max(1, size - 1)]
        kept = [*kept[:better], NULL, *kept[better:]]
    total = sum(math.exp(scores[place]) for rank, place in enumerate(kept) if rank < size or place == NULL)
    null_first = NULL in scores and (not spans or scores[NULL] - scores[spans[0]] > settings.null_score_diff_threshold)

    def listed(places: Sequence[Place]) -> list[dict[str, Any]]:
        if NULL in scores:
            first = NULL if null_first else spans[0]
            places = [first, *(place for place in places if place != first)]
        answers: dict[str, dict[str, Any]] = {}
        for place in places:
            document, start, end = place
            text = "" if place == NULL else contexts[document][start:end]
            numbers = {"start": start, "end": end, "score": math.exp(scores[place]) / total}
            name = None if place == NULL else document
            if text.casefold() not in answers and len(answers) < settings.top_k:
                answers[text.casefold()] = numbers | {"answer": text, "document": name, "places": []}
            in_list = answers.get(text.casefold())
            if place != NULL and in_list is not None and (place in kept or not in_list["places"]):
                in_list["places"].append(numbers | {"document": document})
        return [*answers.values()]

    answers = listed(kept)
    if len(answers) == settings.top_k:
        return answers
    return listed(sorted({*kept, *spans}, key=lambda place: (-scores[place], place == NULL, place)))
