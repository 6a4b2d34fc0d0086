"""Gathers the tables of questions of all processes on the first one."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import lightning.pytorch as pl
import pyarrow as pa
import pyarrow.compute as pc

from qa_lightning.runs.folder import RunFolder
from qa_lightning.runs.questions import read_table, write_table


def gather(tables: Mapping[str, pa.Table], folder: Path, trainer: pl.Trainer) -> dict[str, pa.Table]:
    """Gathers the tables of all processes on the first one, each question once, in the data's order.

    Each process writes its part into a folder that is gone afterwards; neither logits nor texts go over the
    network. All processes must call this.

    Args:
        tables: This process's questions by evaluation set, the same sets on every process, in the same order;
            with the columns of `questions.SCHEMA`.
        folder: The run's folder, which all processes must see.
        trainer: Knows the processes.

    Returns:
        The tables by evaluation set on the first process; nothing on the others.
    """
    if trainer.world_size == 1 or not tables:
        return dict(tables)
    run = RunFolder(folder)
    parts = run.parts
    if trainer.is_global_zero:
        shutil.rmtree(parts, ignore_errors=True)  # of an evaluation that was interrupted here
    trainer.strategy.barrier("there are no parts")
    for number, table in enumerate(tables.values()):
        write_table(run.part(number, trainer.global_rank), table)
    trainer.strategy.barrier("every process has written its part")
    joined = {}
    if trainer.is_global_zero:
        for number, name in enumerate(tables):
            files = [run.part(number, rank) for rank in range(trainer.world_size)]
            joined[name] = _join([read_table(file) for file in files])
        shutil.rmtree(parts)
    trainer.strategy.barrier("the first process has read the parts")
    return joined


def _join(tables: list[pa.Table]) -> pa.Table:
    table = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
    return table.take(pc.sort_indices(table["row"]))
