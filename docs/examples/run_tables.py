# %% [markdown]
# # Reading a run's tables with pandas
#
# Every run leaves its scores, a table of its questions and its learning curves as plain files. This script reads them.
# Train a run first, and name its folder:
#
#     python -m qa_lightning fit --config configs/quickstart.yaml --run_dir runs/seed0
#     RUN_DIR=runs/seed0 python docs/examples/run_tables.py

# %%
import json
import os
from pathlib import Path

import pandas as pd

run_dir = Path(os.environ.get("RUN_DIR", "runs/seed0"))

# %% [markdown]
# ## Scores
#
# `metrics.json` holds the scores of the best epoch.

# %%
metrics = json.loads((run_dir / "metrics.json").read_text(encoding="utf-8"))
print(pd.Series({name: metrics[name] for name in ("val/exact_match", "val/f1", "val/HasAns_f1", "val/NoAns_f1")}))

# %% [markdown]
# ## Questions
#
# `per_question.parquet` has one row for each question: its scores, the prediction, the gold answers and the candidates.

# %%
questions = pd.read_parquet(run_dir / "per_question.parquet")
questions["answerable"] = questions["golds"].map(len) > 0
assert abs(questions["f1"].mean() - metrics["val/f1"]) < 1e-6

print(questions.groupby("answerable")[["exact_match", "f1"]].agg(["mean", "count"]).round(1))

# %% [markdown]
# Which kinds of question are hard?

# %%
by_type = questions.groupby("question_type").agg(questions=("f1", "size"), f1=("f1", "mean"))
print(by_type.sort_values("f1").round(1).head(10))

# %% [markdown]
# The worst questions, with what was predicted and what was right:

# %%
questions["gold"] = questions["golds"].map(lambda golds: golds[0]["text"] if len(golds) else "(no answer)")
worst = questions.sort_values("f1")[["question", "prediction", "gold", "f1"]]
print(worst.head(5).to_string(index=False, max_colwidth=40))

# %% [markdown]
# ## Thresholds
#
# A question is left unanswered where its null odds exceed the threshold. This is F1 over a few thresholds:

# %%
for threshold in (-4, -2, 0, 2, 4):
    is_null = questions["null_odds"] > threshold
    f1 = questions["null_f1"].where(is_null, questions["span_f1"]).mean()
    print(f"{threshold:+d}: F1 {f1:.2f}, {is_null.mean():.0%} unanswered")

# %% [markdown]
# ## Learning curves
#
# Lightning's CSV logger writes one row each time that something is logged.

# %%
(log,) = (run_dir / "logs").glob("*/metrics.csv")
curves = pd.read_csv(log)
validations = curves.dropna(subset=["val/f1"])[["step", "val/loss", "val/exact_match", "val/f1"]]
print(validations.round(2).to_string(index=False))
