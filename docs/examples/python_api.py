# %% [markdown]
# # Training without the command line
#
# This script builds the data module and the module by hand, trains them with `L.Trainer`, and asks the trained model.
# Run it from the project's folder:
#
#     python docs/examples/python_api.py
#
# Environment variables make it smaller: `PASSAGES` (default 1,000) and `RUN_DIR` (default `runs/python_api`).

# %%
import os
from pathlib import Path

import lightning as L
from lightning.pytorch.loggers import CSVLogger

from qa_lightning import QADataModule, QALightningModule, Reader, Results, RunCheckpoint, SyntheticCorpus

run_dir = Path(os.environ.get("RUN_DIR", "runs/python_api"))
L.seed_everything(0)

# %% [markdown]
# ## Data
#
# A corpus that the package writes itself stands in for files; for yours, give `train_file` and `validation_file`. The
# folder holds a tokenizer and the configuration of a small BERT. What data and model must both know stands in `shared`:
# on the command line it is linked; here, values that disagree are refused before anything is trained.

# %%
model_folder = "configs/quickstart_model"
shared = {
    "config_name": model_folder,
    "version_2_with_negative": True,
    "max_length": 64,
    "doc_stride": 16,
    "max_question_length": 24,
}

data = QADataModule(
    synthetic=SyntheticCorpus(train_passages=int(os.environ.get("PASSAGES", "1000")), validation_passages=120),
    batch_size=64,
    **shared,
)

# %% [markdown]
# ## Model
#
# `config_name` starts from random weights; `model_name_or_path` would start from a model.

# %%
module = QALightningModule(
    learning_rate=2e-3,
    weight_decay=0.01,
    warmup_ratio=0.1,
    max_answer_length=9,
    **shared,
)

# %% [markdown]
# ## Training
#
# `RunCheckpoint` keeps the best and the last checkpoint, `Results` the best model and the files of its evaluation.
# `default_root_dir` becomes a run's folder like those of the command line: `report`, `compare` and `validate --run_dir`
# read it. `fast_dev_run=True` would try one batch and leave no files.

# %%
results = Results()
trainer = L.Trainer(
    default_root_dir=run_dir,
    accelerator="cpu",
    max_epochs=1,
    gradient_clip_val=1.0,
    num_sanity_val_steps=0,
    enable_progress_bar=False,
    enable_model_summary=False,
    log_every_n_steps=5,
    logger=CSVLogger(run_dir, name="logs"),
    callbacks=[RunCheckpoint(), results],
)
trainer.fit(module, data)
results.show()
print("F1", round(float(trainer.callback_metrics["val/f1"]), 1))

# %% [markdown]
# ## Asking the model

# %%
reader = Reader.from_pretrained(run_dir)
text = "The castle has a tower that is 961 metres high. 716 steps lead to the top of Langley Castle."
print(reader(question="How high is the tower of the castle?", context=text))
