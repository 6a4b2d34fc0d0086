"""A stand-in for a training, which takes no time to start: it logs ``val/f1`` and goes on from where it was stopped.

Run by its path, it imports nothing of ours. ``--hold FILE`` waits before the third value until there is such a file.
"""

import argparse
import csv
import json
import math
import os
import signal
import sys
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--run_dir", type=Path)
    parser.add_argument("--ckpt_path")
    parser.add_argument("--model.lr", type=float, default=1e-3)
    parser.add_argument("--size", type=int, default=0)
    parser.add_argument("--kind", default="")
    parser.add_argument("--data", default="{}")
    parser.add_argument("--values", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--hold", type=Path)
    parser.add_argument("--fails", default="")
    parser.add_argument("--stubborn", action="store_true")
    parser.add_argument("--metric", default="val/f1")
    options = parser.parse_args()
    run: Path = options.run_dir
    run.mkdir(parents=True, exist_ok=True)
    (run / "config.yaml").write_text(json.dumps({"lr": vars(options)["model.lr"], "size": options.size}))
    if str(options.size) in options.fails.split(",") and not (run.parent / "repaired").exists():
        sys.exit("error: no such size")

    def stop(number: int, frame: object) -> None:
        (run / "stopped").write_text(str(number))
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, signal.SIG_IGN if options.stubborn else stop)
    (run / "pid").write_text(str(os.getpid()))
    state = run / "state"
    done = int(state.read_text()) if options.ckpt_path == "last" and state.exists() else 0
    logs = run / f"logs/version_{len(list(run.glob('logs/version_*')))}"
    logs.mkdir(parents=True)
    with (logs / "metrics.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["step", "train/loss", options.metric])
        for step in range(done + 1, options.values + 1):
            while step == 3 and options.hold is not None and not options.hold.exists():
                time.sleep(0.02)
            time.sleep(options.seconds)
            value = 40 + 5 * step - 4 * abs(math.log10(vars(options)["model.lr"]) + 3) + options.size
            rows.writerow([step, 1 / step, value])
            stream.flush()
            state.write_text(str(step))


if __name__ == "__main__":
    main()
