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

from qa_lightning import Reader
from qa_lightning.callbacks.checkpoint import RunCheckpoint
from qa_lightning.callbacks.results import Results
from qa_lightning.data.datamodule import QADataModule
from qa_lightning.data.synthetic import SyntheticCorpus
from qa_lightning.modeling.module import QALightningModule

run_dir = Path(os.environ.get("RUN_DIR", "runs/python_api"))
L.seed_everything(0)

# %% [markdown]
# ## Data
#
# A corpus that the package writes itself stands in for files; for yours, give `train_file` and `validation_file`. The
# folder holds a tokenizer and the configuration of a small BERT.

# %%
model_folder = "configs/quickstart_model"
windows = {"max_length": 64, "doc_stride": 16, "max_question_length": 24}

data = QADataModule(
    config_name=model_folder,
    synthetic=SyntheticCorpus(train_passages=int(os.environ.get("PASSAGES", "1000")), validation_passages=120),
    version_2_with_negative=True,
    batch_size=64,
    **windows,
)

# %% [markdown]
# ## Model
#
# `config_name` starts from random weights; `model_name_or_path` would start from a model. The settings of windows are
# given twice here, to the data and to the model that is saved with them; on the command line they are linked.

# %%
module = QALightningModule(
    config_name=model_folder,
    tokenizer_name=model_folder,
    learning_rate=2e-3,
    weight_decay=0.01,
    warmup_ratio=0.1,
    max_answer_length=9,
    version_2_with_negative=True,
    **windows,
)

# %% [markdown]
# ## Training
#
# `RunCheckpoint` keeps the best and the last checkpoint, `Results` writes the files of the best evaluation. Batches are
# dealt to processes by the data module, so Lightning's own sampler stays off.

# %%
trainer = L.Trainer(
    default_root_dir=run_dir,
    accelerator="cpu",
    max_epochs=1,
    gradient_clip_val=1.0,
    use_distributed_sampler=False,
    num_sanity_val_steps=0,
    logger=False,
    enable_progress_bar=False,
    enable_model_summary=False,
    callbacks=[RunCheckpoint(), Results()],
)
trainer.fit(module, data)
print("F1", round(float(trainer.callback_metrics["val/f1"]), 1))

# %% [markdown]
# ## Asking the model

# %%
reader = Reader.from_pretrained(run_dir / "best_model")
text = "The castle has a tower that is 961 metres high. 716 steps lead to the top of Langley Castle."
print(reader(question="How high is the tower of the castle?", context=text))
