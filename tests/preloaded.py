"""What a process of `tests.forked` has imported before it begins; nothing of the package itself."""

import lightning.pytorch
import torch
import transformers

assert lightning.pytorch
assert torch.nn
assert transformers.AutoModelForQuestionAnswering  # only now is it imported
