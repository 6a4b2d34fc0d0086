from __future__ import annotations

from typing import Any

import pytest
import torch

from qa_lightning.utils.host_copies import HostCopy, arrival


def test_a_copy_on_the_cpu_is_the_tensor_itself() -> None:
    tensor = torch.arange(3)
    copy = HostCopy(tensor)
    assert copy.has_arrived()
    assert copy.wait() is tensor


def test_the_gpu_that_is_waited_for_is_the_one_that_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Reader may be on another one than the current one, whose stream has nothing to do and is done at once."""
    recorded = []

    class Event:
        def record(self, stream: Any = None) -> None:
            recorded.append(stream)

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device=None: f"stream of {device}")
    arrival(torch.device("cuda:1"))
    assert recorded == ["stream of cuda:1"]
