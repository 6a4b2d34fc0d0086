"""Training and validation on a GPU, in bfloat16, beside transformers' ``Trainer``: the same model, windows and card.

Each variant runs in a process of its own, which is killed at a limit, and is a line as soon as it ends. It trains two
epochs: one in which every shape of batch is seen, and one that is timed. Ours is what a user gets: a module to which
nothing is passed that is not the variant's, a data module, and ``fit``. ``Trainer`` has bfloat16, a fused AdamW,
workers that pin memory, and no filter of losses that waits for the card; it is compiled or not, padded to one length or
grouped by length, and the fastest of these is Trainer at its best. Its validation ends with the logits of all windows,
ours with scored answers. Features are made, and tokens cached, beforehand. Where ``Trainer`` pads dynamically, no
warm-up sees all lengths.

The share of the card is that of the rate of a large product of matrices; counted are the products that the windows' own
tokens take in the forward and backward pass, without padding, so that it shows how much of the time goes to what has to
be done. Padding is that of what the embeddings are given, or, where compiling hides it, of batches before they may be
packed. GB are torch's, at the peak. Seconds to the first step are those since the process was started; the warm-up is
all that is between these and the timed epoch.

``small`` asks what the bars ask and ends in 150 s; ``full`` measures everything. ``--dry`` walks all of it with tiny
models on a CPU, and its figures mean nothing. ``--models`` and ``--variants`` measure some again, and set no limit to
the whole. The exit status is 1 where a variant failed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.gpu_bars import bars, figure_rows, format_figures, print_figures
from benchmarks.gpu_plan import CARDS, MEANT_TO_FAIL, MODELS, PLANS, VARIANTS, GpuSize, Run, chosen
from benchmarks.harness import ROOT, print_lines, print_table

_LEAST = 10  # seconds, with less than which left nothing is begun


def parse_line(output: str, code: int) -> dict[str, Any]:
    """The figures that a variant's process printed as its last line, or ``failed`` and why.

    Args:
        output: All that it printed.
        code: Its exit status.
    """
    last = output.rstrip().rpartition("\n")[2]
    with contextlib.suppress(json.JSONDecodeError):
        figures = json.loads(last)
        if isinstance(figures, dict):
            return figures
    return {"failed": f"ended by signal {-code}" if code < 0 else f"exit status {code} and no figures"}


def in_time(command: list[str], environment: Mapping[str, str], limit: float) -> dict[str, Any]:
    """Runs a command, which is killed with its children at a time limit; returns its figures, or why it failed.

    Args:
        command: What to run, from the project's root.
        environment: Its environment.
        limit: Seconds.
    """
    # Files, not pipes, which what is left of a killed process' children would keep open.
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as complaints:
        child = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=output, stderr=complaints, start_new_session=True
        )
        try:
            code = child.wait(limit)
        except subprocess.TimeoutExpired:
            return {"failed": f"no figures within {limit:.0f} s"}
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        output.seek(0)
        complaints.seek(0)
        figures = parse_line(output.read(), code)
        if "failed" in figures:
            print(*complaints.readlines()[-20:], sep="", file=sys.stderr)
        return figures


def of_child(variant: str, model: str, size: GpuSize, folder: Path, began: float) -> dict[str, Any]:
    """Measures a variant in its own process: figures, or ``failed`` and why in one line."""
    try:
        if VARIANTS[variant].kind == "fail":
            raise RuntimeError("as it should\nin more than one line")
        while VARIANTS[variant].kind == "hang":
            time.sleep(1)
        from benchmarks.gpu_variants import measured

        return measured(variant, model, size, folder, began)
    except Exception as error:
        traceback.print_exc()
        return {"failed": f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}"}
    except SystemExit as error:
        return {"failed": str(error)}


def run_variant(run: Run, size: GpuSize, folder: Path, limit: float) -> dict[str, Any]:
    """The figures of one variant, from a fresh process.

    What it compiles is cached in a folder of its own, so that its start costs what it costs a user the first time.

    Args:
        run: Which model and variant.
        size: How much.
        folder: Where the data, their tokens and the models lie.
        limit: Seconds.
    """
    model, variant = run
    caches = folder / "caches" / f"{model}-{variant.removesuffix('-again')}"
    own = {
        "XDG_CACHE_HOME": "xdg",
        "HF_HOME": "hf",
        "TORCHINDUCTOR_CACHE_DIR": "inductor",
        "TRITON_CACHE_DIR": "triton",
    }
    environment = os.environ | {name: str(caches / place) for name, place in own.items()} | {"HF_HUB_OFFLINE": "1"}
    environment.setdefault("CUDA_VISIBLE_DEVICES", "0")  # of several, Trainer would take all
    named = ["--variant", variant, "--model", model, "--size", size, "--folder", str(folder)]
    command = [sys.executable, "-m", "benchmarks.gpu", *named, "--began", str(time.time())]
    return in_time(command, environment, VARIANTS[variant].limit or limit)


def run_here(run: Run, size: GpuSize, folder: Path) -> dict[str, Any]:
    """Measures a variant in this process, which saves a dry run the time of imports."""
    before = dict(os.environ)
    try:
        return of_child(run[1], run[0], size, folder, time.time())
    finally:
        os.environ.clear()
        os.environ.update(before)


def run_all(size: GpuSize, runs: list[Run], total: float | None) -> int:
    """Runs variants one after the other, prints each as it ends and tables at the end; returns the exit status.

    Args:
        size: How much.
        runs: Models and variants.
        total: Seconds that all of them may take; None: no limit.

    Raises:
        SystemExit: Where the first process finds no GPU.
    """
    start = time.monotonic()
    plan = PLANS[size]
    epochs = any(VARIANTS[variant].kind == "epoch" for _, variant in runs)
    first: Run = ("distilbert", CARDS[epochs])
    results: dict[Run, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for number, run in enumerate([first, *runs]):
            left = plan.limit if total is None else min(plan.limit, total - (time.monotonic() - start))
            if left < _LEAST:
                results[run] = {"failed": "not begun, since the time was up"}
            # Of a dry run, some processes are enough to try them.
            elif size == "dry" and number != 1 and run[1] not in MEANT_TO_FAIL:
                results[run] = run_here(run, size, Path(temporary))
            else:
                results[run] = run_variant(run, size, Path(temporary), left)
            print(format_figures(run, results[run], results[first]), flush=True)
            if number == 0 and "failed" in results[first]:
                raise SystemExit(results[first]["failed"])
    card = results.pop(first)
    print_figures(results, card)
    judged = bars(results, card, plan)
    print_table(judged)
    print_lines(figure_rows(results, card))
    print_lines(judged)
    return int(any("failed" in figures for (_, variant), figures in results.items() if variant not in MEANT_TO_FAIL))


def main() -> int:
    """Runs what the command line asks for; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=PLANS, default="small", help="how much (default: small)")
    parser.add_argument("--dry", action="store_const", const="dry", dest="size", help="try all of it on a CPU")
    parser.add_argument("--models", type=_names, help=f"only these, by commas: {', '.join(MODELS)}")
    parser.add_argument("--variants", type=_names, help=f"only these, by commas: peers, {', '.join(VARIANTS)}")
    for name, kind in (("variant", str), ("model", str), ("folder", Path), ("began", float)):
        parser.add_argument(f"--{name}", type=kind, help=argparse.SUPPRESS)  # of a variant's process
    asked = parser.parse_args()
    if asked.variant:
        print(json.dumps(of_child(asked.variant, asked.model, asked.size, asked.folder, asked.began)), flush=True)
        os._exit(0)  # taking down worker processes and graphs may take long
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that no process is left behind
    runs = chosen(asked.size, asked.models, asked.variants)
    return run_all(asked.size, runs, None if asked.models or asked.variants else PLANS[asked.size].total)


def _names(text: str) -> list[str]:
    return text.split(",")


if __name__ == "__main__":
    sys.exit(main())
