"""``sweep FILE``: runs a sweep of Weights & Biases here, without a server."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from qa_lightning.cli.arguments import VerbParser, at_least
from qa_lightning.cli.resume_command import same_command
from qa_lightning.utils.signals import BASE
from qa_lightning.utils.terminal import printable

FOLDER = "runs/sweep-"
"""What the folder of a sweep is called by default, in front of its file's name."""


def run(arguments: list[str]) -> None:
    """Runs the sweep that the arguments name, and writes its table, its page and the best config.

    Raises:
        UserError: Where the file is no sweep, or the sweep cannot be run.
        KeyboardInterrupt: Where Ctrl-C interrupted it, once all is written.
        SystemExit: Where a SIGTERM did.
    """
    place = arguments.index("--") if "--" in arguments else len(arguments)
    options, flags = _parser().parse_args(arguments[:place]), arguments[place + 1 :]
    # Imported here, since a mistake need not wait for pyarrow and Optuna.
    from qa_lightning.experiments.sweep import run_sweep
    from qa_lightning.experiments.sweep_command import check_flags
    from qa_lightning.experiments.sweep_file import read_sweep
    from qa_lightning.experiments.sweep_report import write_report
    from qa_lightning.experiments.sweep_study import SweepStudy

    sweep = read_sweep(options.file)
    check_flags(flags, sweep.parameters)
    folder = options.sweep_dir or Path(f"{FOLDER}{options.file.stem}")
    study = SweepStudy(folder, sweep, flags, options.seed)
    goal = "maximizes" if sweep.metric.maximize else "minimizes"
    _say(f"{options.file}: {sweep.method}, {goal} {sweep.metric.name}; everything is kept in {folder}")
    command = same_command(["sweep", *arguments])
    try:
        ended_by = run_sweep(
            study,
            workers=options.workers,
            run_cap=options.run_cap,
            repeat_failed=options.repeat_failed,
            say=_say,
        )
    except KeyboardInterrupt:
        ended_by = signal.SIGINT
    for line in write_report(study, command):
        _say(line)
    if ended_by is None:
        return
    print(f"Go on with:\n  {command}", file=sys.stderr, flush=True)
    if ended_by == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(BASE + ended_by)


def _parser() -> VerbParser:
    parser = VerbParser("sweep", "Runs a sweep here, by the file that `wandb sweep` takes, without a server.")
    parser.usage = f"{parser.prog} [-h] [options] FILE [-- FLAGS]"
    parser.epilog = "FLAGS behind -- are added to the command of every trial: -- --data.train_file train.json"
    parser.add_argument("file", metavar="FILE", type=Path, help="the sweep as YAML, such as sweeps/seeds.yaml")
    parser.add_argument(
        "--sweep_dir", metavar="DIR", type=Path, help=f"its folder, also of one that goes on ({FOLDER}NAME)"
    )
    parser.add_argument(
        "--workers", metavar="N", type=at_least(1), default=1, help="trials side by side, one GPU for each (1)"
    )
    parser.add_argument("--run_cap", metavar="N", type=at_least(1), help="at most so many trials, whatever FILE says")
    parser.add_argument("--seed", metavar="N", type=at_least(0), default=0, help="of the draws (0)")
    parser.add_argument("--repeat_failed", action="store_true", help="try trials that failed once more")
    return parser


def _say(line: str) -> None:
    print(printable(line), flush=True)
