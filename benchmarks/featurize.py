"""The speed and memory of cutting loaded rows into training windows, compared with ``Dataset.map``.

Ours goes from the table of examples to windows as training does, with nothing in the token cache. The peer maps the
pair tokenizer over the rows as transformers' example for question answering does, in one process and in two. Both begin
with rows that are mapped from a file, and end with the same windows.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.data import QUESTIONS, squad_shaped, tokenizer
from benchmarks.harness import Row, Size, in_child, main, memory, row

MAX_LENGTH = 384
DOC_STRIDE = 128


def run(size: Size) -> list[Row]:
    """Rates and peaks of both, each in a fresh process; watching memory takes time, so it is a run of its own."""
    questions = QUESTIONS[size]
    with tempfile.TemporaryDirectory() as folder:
        write_inputs(questions, Path(folder))
        calls: list[tuple[object, ...]] = [("ours", folder), ("peer", folder, 1), ("peer", folder, 2)]
        timed = [in_child("benchmarks.featurize", *call) for call in calls]
        watched = [in_child("benchmarks.featurize", *call, watch=True) for call in calls]
    assert len({result["windows"] for result in timed + watched}) == 1, "the two do not cut the same windows"
    ours, *peers = [questions / result["seconds"] for result in timed]
    our_peak, *peaks = [result["peak"] - result["imports"] for result in watched]
    by_processes = "Dataset.map with 1 and 2 processes: {:,.0f} and {:,.0f}"
    return [
        row(
            "featurize",
            "questions per second",
            ours,
            peer=max(peers),
            bar=5,
            unit="questions/s",
            note=by_processes.format(*peers),
        ),
        row(
            "featurize",
            "peak memory above imports, MB",
            our_peak,
            peer=min(peaks),
            bar=1,
            higher_is_better=False,
            unit="MB",
            note=by_processes.format(*peaks),
        ),
    ]


def write_inputs(questions: int, folder: Path) -> None:
    """Writes the rows as each of the two maps them into memory: as a data set, and as a table of examples."""
    from datasets import Dataset, disable_progress_bars
    from pyarrow import feather

    from qa_lightning.data.sources import rows_to_examples

    rows = squad_shaped(questions)
    disable_progress_bars()
    Dataset.from_list(rows).save_to_disk(folder / "rows")
    examples = rows_to_examples(rows, source="copies").table
    feather.write_feather(examples, str(folder / "examples.feather"), compression="uncompressed")


def ours(folder: str) -> dict[str, Any]:
    """From the table of examples to windows: seconds, how many windows, and MB that the imports hold."""
    import pyarrow as pa
    import transformers
    from pyarrow import feather

    import qa_lightning.data.splits

    assert transformers.BertTokenizer  # only now is it imported
    assert qa_lightning.data.splits
    pa.array([0])  # pyarrow imports pandas as soon as it makes an array, as reading rows does; so does datasets
    imports = memory(os.getpid())
    fast = tokenizer()
    table = feather.read_table(f"{folder}/examples.feather", memory_map=True)
    start = time.perf_counter()
    windows = our_windows(table, fast)
    return {"seconds": time.perf_counter() - start, "windows": len(windows), "imports": imports}


def peer(folder: str, processes: str) -> dict[str, Any]:
    """From rows to windows by ``Dataset.map``: the same figures."""
    import datasets
    import transformers

    assert transformers.BertTokenizer  # only now is it imported
    imports = memory(os.getpid())
    datasets.disable_progress_bars()
    fast = tokenizer()
    rows = datasets.load_from_disk(f"{folder}/rows")
    start = time.perf_counter()
    features = peer_features(rows, fast, int(processes))
    return {"seconds": time.perf_counter() - start, "windows": len(features), "imports": imports}


def split_config(cache_dir: Path | None = None) -> Any:
    """SQuAD's usual settings."""
    from qa_lightning.data.splits import SplitConfig
    from qa_lightning.data.tokens import default_cache_dir

    return SplitConfig(
        max_length=MAX_LENGTH,
        doc_stride=DOC_STRIDE,
        max_question_length=64,
        answers="first",
        allow_impossible_windows=True,
        version_2_with_negative=False,
        on_misaligned="repair",
        cache_dir=cache_dir or default_cache_dir(),
    )


def our_windows(table: Any, fast: Any, cache_dir: Path | None = None) -> Any:
    """A table of examples made into a `WindowDataset`, aligned, tokenised and cut, as for training."""
    from qa_lightning.data.sources import RawSplit
    from qa_lightning.data.splits import build_split

    return build_split(RawSplit(table, {}, 0), fast, split_config(cache_dir), source="copies", training=True).dataset


def peer_features(rows: Any, fast: Any, processes: int = 1) -> Any:
    """Rows made into features as ``prepare_train_features`` of transformers' ``run_qa.py`` does, padded to the full."""

    def prepare(examples: dict[str, list[Any]]) -> Any:
        encoded = fast(
            [question.lstrip() for question in examples["question"]],
            examples["context"],
            truncation="only_second",
            max_length=MAX_LENGTH,
            stride=DOC_STRIDE,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            padding="max_length",
        )
        sample_mapping = encoded.pop("overflow_to_sample_mapping")
        offset_mapping = encoded.pop("offset_mapping")
        encoded["start_positions"] = []
        encoded["end_positions"] = []
        for i, offsets in enumerate(offset_mapping):
            input_ids = encoded["input_ids"][i]
            cls_index = input_ids.index(fast.cls_token_id)
            sequence_ids = encoded.sequence_ids(i)
            answers = examples["answers"][sample_mapping[i]]
            if len(answers["answer_start"]) == 0:
                encoded["start_positions"].append(cls_index)
                encoded["end_positions"].append(cls_index)
                continue
            start_char = answers["answer_start"][0]
            end_char = start_char + len(answers["text"][0])
            token_start_index = 0
            while sequence_ids[token_start_index] != 1:
                token_start_index += 1
            token_end_index = len(input_ids) - 1
            while sequence_ids[token_end_index] != 1:
                token_end_index -= 1
            if not (offsets[token_start_index][0] <= start_char and offsets[token_end_index][1] >= end_char):
                encoded["start_positions"].append(cls_index)
                encoded["end_positions"].append(cls_index)
                continue
            while token_start_index < len(offsets) and offsets[token_start_index][0] <= start_char:
                token_start_index += 1
            encoded["start_positions"].append(token_start_index - 1)
            while offsets[token_end_index][1] >= end_char:
                token_end_index -= 1
            encoded["end_positions"].append(token_end_index + 1)
        return encoded

    return rows.map(
        prepare,
        batched=True,
        num_proc=processes if processes > 1 else None,
        remove_columns=rows.column_names,
        load_from_cache_file=False,
    )


if __name__ == "__main__":
    main(run, __doc__, ours=ours, peer=peer)
