"""Where a run's settings and checkpoints are found again, so that it goes on or is evaluated."""

from __future__ import annotations

import json
import os
from pathlib import Path

from qa_lightning.pretrained.checkpoint_file import checkpoint_config
from qa_lightning.runs.folder import RunFolder
from qa_lightning.utils.errors import UserError
from qa_lightning.utils.processes import is_first


def earlier_settings(subcommand: str, run_dir: str | None, checkpoint: str | None) -> list[str]:
    """Finds the settings of the run or checkpoint that a command line names.

    Args:
        subcommand: What is to be done: ``fit``, ``validate``, ``inspect``.
        run_dir: The value of ``--run_dir``.
        checkpoint: The value of ``--ckpt_path``.

    Returns:
        Arguments to put in front of the command line's own. What stands later wins, so these settings yield to every
        config and flag.

    Raises:
        UserError: The named run or checkpoint does not exist, or a fit would write over a run.
    """
    for flag, value in (("run_dir", run_dir), ("ckpt_path", checkpoint)):
        if value is not None and not value.strip():
            raise UserError(f"--{flag} is empty: name one, or leave the flag out")
    run = None if run_dir is None else RunFolder(Path(os.path.expanduser(run_dir)))
    if checkpoint in ("best", "last") and run is None:
        raise UserError(f"--ckpt_path {checkpoint} says which checkpoint of a run: name the run with --run_dir DIR")
    if subcommand == "fit" and checkpoint is None and run is not None and _was_requeued(run):
        checkpoint = "last"
    begins = subcommand == "fit" and checkpoint in (None, "last")
    if run is not None and begins and checkpoint is None:
        if run.holds_a_model:
            raise UserError(f"{run.path} holds a run already; go on with --ckpt_path last, or name another folder")
        return []  # what is there was never trained, perhaps by another config
    if run is not None and run.config.is_file():
        return ["--config", str(run.config)]
    if run is not None and not begins and (subcommand != "fit" or checkpoint == "best"):
        raise UserError(f"{run.path}: no run there (no config.yaml); --run_dir names the folder of an earlier fit")
    if checkpoint is not None and checkpoint != "last":
        return ["--config", json.dumps(checkpoint_config(checkpoint))]
    return []


def resolve_checkpoint(checkpoint: str | None, run_dir: str | None, subcommand: str) -> str | None:
    """Finds the checkpoint to start from: ``best`` and ``last`` are those of the run.

    Returns:
        The path; None where there is none to take: training to go on from the last that has none yet begins.

    Raises:
        UserError: Where the run has none.
    """
    if checkpoint is None and run_dir is not None and subcommand != "fit":
        checkpoint = "best"
    if checkpoint is None and subcommand == "fit":
        if run_dir is not None and _was_requeued(RunFolder(Path(run_dir))):
            checkpoint = "last"
        elif run_dir is None and _is_job() and is_first():
            print("a requeued job of Slurm goes on only where --run_dir names its folder", flush=True)
    if checkpoint not in ("best", "last"):
        return checkpoint
    run = RunFolder(Path(str(run_dir)))
    path = _last_state(run) if checkpoint == "last" else run.best_checkpoint
    if path.is_file():
        return str(path)
    if subcommand == "fit" and checkpoint == "last":
        # The best is saved first, and has all that the last has.
        best = run.best_checkpoint
        found = f"no {path}: training goes on from best.ckpt" if best.is_file() else None
        if is_first():
            print(found or f"no checkpoint in {run_dir} yet: training starts from the beginning", flush=True)
        return str(best) if best.is_file() else None
    raise UserError(f"{path}: no such checkpoint; this run was not trained so far")


def _last_state(run: RunFolder) -> Path:
    """The file of the state in training that was saved last: ``last.ckpt``, or Lightning's for a requeued job."""
    files = [path for path in (run.last_checkpoint, *run.requeue_checkpoints()[:1]) if path.is_file()]
    return max(files, key=lambda path: path.stat().st_mtime_ns, default=run.last_checkpoint)


def _was_requeued(run: RunFolder) -> bool:
    """Whether a training is that of a job that Slurm started again, with the same command."""
    return bool(run.requeue_checkpoints()) or os.environ.get("SLURM_RESTART_COUNT", "0") != "0"


def _is_job() -> bool:
    """Whether this is a job of Slurm, as Lightning finds it out, which is not interactive."""
    return "SLURM_NTASKS" in os.environ and os.environ.get("SLURM_JOB_NAME") not in ("bash", "interactive")
