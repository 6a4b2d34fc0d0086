"""The bars for the figures of `benchmarks.gpu`, and how figures are printed; imports no torch."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from benchmarks.gpu_plan import MODELS, PEERS, SQUAD_QUESTIONS, SQUAD_VALIDATED, Plan, Run
from benchmarks.harness import Row, row

Results = Mapping[Run, Mapping[str, Any]]
"""What each variant's process printed: figures, or ``failed`` and why."""

TRAINERS = (*PEERS, "trainer-example")
"""Ways to train by ``Trainer``."""

_UNITS = {
    "windows_per_s": "windows/s",
    "share": "% of the matrix rate",
    "padding": "% padding",
    "memory": "GB",
    "first_step": "s to the first step",
    "warm_up": "s of warm-up",
    "seconds": "s in all",
}


class Bar(NamedTuple):
    """A figure that has to be reached.

    Attributes:
        what: What is measured.
        run: Of which model and variant.
        figure: Which of its figures.
        bar: At least so much, or at most where less is better, or so many times Trainer at its best.
        less: Whether less is better.
        beside: Whether it is compared with Trainer at its best.
    """

    what: str
    run: Run
    figure: str
    bar: float
    less: bool = False
    beside: bool = False


BARS = (
    Bar("windows/s, DistilBERT, batch 32", ("distilbert", "ours"), "windows_per_s", 6_000),
    Bar("the same beside Trainer at its best", ("distilbert", "ours"), "windows_per_s", 5, beside=True),
    Bar("windows/s, RoBERTa-base, batch 32", ("roberta", "ours"), "windows_per_s", 3_500),
    Bar("the same beside Trainer at its best", ("roberta", "ours"), "windows_per_s", 3, beside=True),
    Bar("windows/s, BERT-large, 384, batch 64", ("bert-large", "ours"), "windows_per_s", 600),
    Bar("% of the matrix rate, BERT-large", ("bert-large", "ours"), "share", 55),
    Bar("s, a SQuAD epoch of DistilBERT to scores", ("distilbert", "ours-epoch"), "seconds", 40, less=True),
    Bar("windows/s, DistilBERT validated", ("distilbert", "ours-validated"), "windows_per_s", 15_000),
    Bar("% padding in training, not packed", ("distilbert", "ours-plain"), "padding", 8, less=True),
    Bar("% padding in training, packed", ("distilbert", "ours-packed"), "padding", 0, less=True),
)


def complete(figures: Mapping[str, Any], card: Mapping[str, Any]) -> dict[str, Any]:
    """Figures with their ``share`` of the card's matrix rate, in percent."""
    if "operations_per_s" not in figures:
        return dict(figures)
    return {**figures, "share": 100 * figures["operations_per_s"] / card["matrix_rate"]}


def best_peer(results: Results, model: str) -> str | None:
    """The fastest way to train a model by ``Trainer`` among those that were measured; None where there is none."""
    paces = {
        name: results[model, name]["windows_per_s"]
        for name in TRAINERS
        if "windows_per_s" in results.get((model, name), ())
    }
    return max(paces, key=lambda name: paces[name], default=None)


def derived_epoch(results: Results, plan: Plan) -> float | None:
    """Seconds that a SQuAD epoch of DistilBERT would take to its scores, by the figures of a cut.

    These are the seconds to its first step, what its warm-up took beyond the windows trained meanwhile, and the windows
    of SQuAD's two splits at their paces. None where one of these is not there.
    """
    trained, validated = (results.get(("distilbert", name), {}) for name in ("ours", "ours-validated"))
    if "windows_per_s" not in trained or "windows_per_s" not in validated:
        return None
    pace = trained["windows_per_s"]
    start = trained["first_step"] + max(0.0, trained["warm_up"] - trained["windows"] / pace)
    windows = trained["windows"] * SQUAD_QUESTIONS / plan.questions
    of_validation = validated["windows"] * SQUAD_VALIDATED / plan.validated
    return start + windows / pace + of_validation / validated["windows_per_s"]


def bars(results: Results, card: Mapping[str, Any], plan: Plan) -> list[Row]:
    """A row for each bar; where it was not measured, its note says so."""
    rows = []
    for what, run, name, bar, less, beside in BARS:
        figures = complete(results.get(run, {}), card)
        note = f"failed: {figures['failed']}" if "failed" in figures else "" if figures else "not measured"
        figure = figures.get(name)
        peer = None
        if name == "seconds" and figure is None and (figure := derived_epoch(results, plan)) is not None:
            note = "derived from a cut, not run"
        if beside:
            best = best_peer(results, run[0])
            tried = sum("windows_per_s" in results.get((run[0], trainer), ()) for trainer in TRAINERS)
            note = note or (f"{best}, the best of {tried}" if best else "no Trainer was measured")
            peer = results[run[0], best]["windows_per_s"] if best else None
            figure = figure if best else None
        rows.append(row("gpu", what, figure, peer=peer, bar=bar, higher_is_better=not less, note=note))
    return rows


def format_figures(run: Run, figures: Mapping[str, Any], card: Mapping[str, Any]) -> str:
    """Formats a variant's figures as one line, or why there are none."""
    if "failed" in figures:
        return f"{run[0]}, {run[1]}: failed: {figures['failed']}"
    if "matrix_rate" in figures:
        return f"{figures['name']}, torch {figures['torch']}: {figures['matrix_rate'] / 1e12:,.4g} TFLOP/s in bfloat16"
    parts = [f"{_short(value)} {_UNITS[name]}" for name, value in _known(complete(figures, card))]
    return f"{run[0]}, {run[1]}: {', '.join(parts)}"


def print_figures(results: Results, card: Mapping[str, Any]) -> None:
    """Prints a table with a row for each variant; why one failed is what its line says."""
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for name in ("model", "variant"):
        table.add_column(name, no_wrap=True)
    for name in _UNITS.values():
        table.add_column(name, justify="right")
    for (model, variant), figures in results.items():
        known = {name: _short(value) for name, value in _known(complete(figures, card))}
        table.add_row(model, variant, *(["failed"] if "failed" in figures else [known.get(name) for name in _UNITS]))
    Console(width=None if sys.stdout.isatty() else 140, markup=False).print(table)


def figure_rows(results: Results, card: Mapping[str, Any]) -> list[Row]:
    """A row for each figure of each variant, for programs; one that failed has a row that says so."""
    rows = [row("gpu", f"the matrix rate of {card['name']}", card["matrix_rate"] / 1e12, unit="TFLOP/s")]
    for (model, variant), figures in results.items():
        what = f"{MODELS[model].title}, {variant}"
        if "failed" in figures:
            rows.append(row("gpu", what, None, note=f"failed: {figures['failed']}"))
        rows += [row("gpu", what, value, unit=_UNITS[name]) for name, value in _known(complete(figures, card))]
    return rows


def _known(figures: Mapping[str, Any]) -> Iterable[tuple[str, float]]:
    return [(name, figures[name]) for name in _UNITS if figures.get(name) is not None]


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
