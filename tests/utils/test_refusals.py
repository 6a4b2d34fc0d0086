"""What Lightning, torch, the system and we refuse: one line each, status 2, no traceback, and nothing left behind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

from qa_lightning.cli.main import main
from qa_lightning.utils.bounded_yaml import MOST, check_yaml
from qa_lightning.utils.errors import UserError
from qa_lightning.utils.model_size import check_model_size
from qa_lightning.utils.refusals import Progress, refusal, unwrap_user_errors
from qa_lightning.utils.terminal import one_line
from tests.tiny import SQUAD, fit_arguments, tiny_folder, write_squad
from tests.training import trains

pytestmark = trains

Refuse = Callable[..., str]


class Broken(pl.Callback):
    """A callback of a user's that has a fault."""

    def on_train_batch_end(self, *_: Any) -> None:
        {}["no such key"]


class Picky(pl.Callback):
    """A callback of a user's that refuses what it is given."""

    def __init__(self, alpha: float = 2.0) -> None:
        if alpha > 1:
            raise ValueError(f"alpha must be at most 1, not {alpha}")


class Full(pl.Callback):
    """A disk that fills up, or memory, in the middle of a training."""

    def __init__(self, memory: bool = False) -> None:
        self.memory = memory

    def on_train_batch_end(self, *_: Any) -> None:
        if self.memory:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        raise OSError(28, "No space left on device", "somewhere/file")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_folder(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_squad(tmp_path_factory.mktemp("data") / "d.json"))


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def refuse(work: Path, capsys: pytest.CaptureFixture[str]) -> Refuse:
    """Runs a command that must be refused, and returns its one line; nothing may be left unless it had started."""

    def run(*arguments: str, started: bool = False) -> str:
        capsys.readouterr()
        try:
            status: Any = main(list(arguments))
        except SystemExit as stopped:
            status = stopped.code
        printed = capsys.readouterr().err
        assert status == 2, printed
        (line,) = [line for line in printed.splitlines() if line.startswith("error: ")]
        assert printed.endswith(f"{line}\n")
        assert "Traceback" not in printed
        assert len(line) < 1000
        assert started or not list(work.iterdir())
        return line

    return run


@pytest.fixture
def fit(refuse: Refuse, model: Path, data: str) -> Refuse:
    """The same of a short training with more flags."""
    return lambda *flags, **options: refuse(*fit_arguments(str(model), data, data), *flags, **options)


BEFORE_ANYTHING_IS_BUILT = [
    ("--trainer.strategy ddp_spawn", "trainer.strategy: a run cannot be handed to spawned processes"),
    ("--trainer.num_nodes 0", "trainer.num_nodes must be at least 1, not 0"),
    ("--trainer.max_epochs -5", "trainer.max_epochs must be at least 0 (-1: no limit), not -5"),
    ("--trainer.max_steps -7", "trainer.max_steps must be at least 0 (-1: no limit), not -7"),
    ("--trainer.min_epochs -5", "trainer.min_epochs must be at least 0, not -5"),
    ("--trainer.check_val_every_n_epoch 0", "trainer.check_val_every_n_epoch must be at least 1"),
    ("--trainer.accumulate_grad_batches 0", "trainer.accumulate_grad_batches must be at least 1"),
    ("--trainer.accumulate_grad_batches -1", "trainer.accumulate_grad_batches must be at least 1"),
    ("--trainer.val_check_interval 0", "trainer.val_check_interval must be above 0"),
    ("--trainer.log_every_n_steps -1", "trainer.log_every_n_steps must be at least 0"),
    ("--trainer.num_sanity_val_steps -5", "trainer.num_sanity_val_steps must be at least 0 (-1: no limit)"),
    ("--trainer.gradient_clip_val -1", "trainer.gradient_clip_val must be at least 0"),
    ("--trainer.gradient_clip_val .nan", "trainer.gradient_clip_val must be at least 0, not nan"),
    ("--trainer.overfit_batches 5", "data.train_split and data.validation_split to a slice such as train[:20]"),
    ("--trainer.barebones true", "trainer.barebones leaves out scores and checkpoints"),
    ("--trainer.enable_checkpointing false", "trainer.enable_checkpointing: a run keeps its best and its last"),
    ("--seed_everything -1", "seed_everything must be at least 0, not -1"),
    (f"--seed_everything {2**70}", "seed_everything must be at most 4,294,967,295"),
    ("--early_stopping_patience -1", "early_stopping_patience must be at least 0"),
    ("--checkpoint.mode nonsense", "Literal['max', 'min']. Got value: nonsense"),
    ("--run_dir=", "--run_dir is empty"),
    ("--ckpt_path=", "--ckpt_path is empty"),
    ("--run_dir /proc/none", "/proc/none: the run's folder cannot be written"),
    ("--run_dir /proc/none/below", "/proc/none/below: the run's folder cannot be written"),
    (f"--run_dir {'x' * 5000}", "File name too long"),
]

WHILE_IT_IS_BUILT = [
    ("--data.batch_shapes 0", "batch_shapes must be at least 1, not 0"),
    (f"--data.batch_size {10**20}", "batch_size must be at most 1,000,000"),
    (f"--data.eval_batch_size {10**20}", "eval_batch_size must be at most 1,000,000"),
    ("--data.eval_batch_size 0", "eval_batch_size must be at least 1"),
    (f"--data.tokens_per_batch {10**20}", "tokens_per_batch must be at most"),
    ("--data.train_file=", "data.train_file names no file"),
    ("--data.train_file []", "data.train_file names no file"),
    ("--data.validation_file {}", "data.validation_file names no file"),
    ("--data.validation_file {a: []}", "data.validation_file names no file"),
    (f"--data.train_file {'x' * 5000}.json", "File name too long"),
    ("--data.train_file ~nobody/x.json", "~nobody/x.json: no such file"),
    ("--model.learning_rate -1", "learning_rate must be at least 0, not -1.0"),
    ("--model.learning_rate .inf", "learning_rate must be finite"),
    ("--model.learning_rate .nan", "learning_rate is not a number"),
    ("--model.weight_decay -1", "weight_decay must be at least 0"),
    ("--model.warmup_ratio 2", "warmup_ratio must be at most 1, not 2.0"),
    ("--model.warmup_ratio -1", "warmup_ratio must be at least 0"),
    ("--model.warmup_steps -1", "warmup_steps must be at least 0"),
    ("--model.null_score_diff_threshold .nan", "null_score_diff_threshold is not a number"),
    ("--model.n_best_size 1000000000", "n_best_size must be at most 10,000"),
    ("--model.config_overrides {num_hidden_layers: 1000000000}", "num_hidden_layers is 1000000000; no model has"),
    ("--checkpoint.every_n_train_steps 0", "checkpoint.every_n_train_steps must be at least 1, not 0"),
    ("--trainer.callbacks EarlyStopping --trainer.callbacks.monitor x --trainer.callbacks.mode y", "got y"),
    ("--trainer.callbacks EMAWeightAveraging --trainer.callbacks.decay 7", "EMAWeightAveraging: Invalid decay value 7"),
    ("--trainer.callbacks ModelCheckpoint --trainer.callbacks.save_top_k -7", "Invalid value for save_top_k=-7"),
    ("--trainer.callbacks tests.utils.test_refusals.Picky", "Picky: alpha must be at most 1, not 2.0"),
    (
        "--trainer.logger MLFlowLogger",
        "MLFlowLogger: it needs a package that is not here: pip install -U 'mlflow",
    ),
    ("--trainer.strategy fsdp", "The strategy `fsdp` requires a GPU accelerator"),
    ("--trainer.strategy nonsense", "`strategy='nonsense'`"),
    ("--trainer.strategy deepspeed", "pip install -U deepspeed"),
    ("--trainer.accelerator gpu", "No supported gpu backend found"),
    ("--trainer.accelerator tpu", "torch_xla"),
    ("--trainer.accelerator nonsense", "`accelerator='nonsense'`. Available names are"),
    ("--trainer.devices 0", "devices"),
    ("--trainer.devices -3", "`devices` selected with `CPUAccelerator` should be an int > 0"),
    ("--trainer.max_time soon", "Expected a string in the format DD:HH:MM:SS"),
    ("--trainer.val_check_interval -1", "invalid value -1 for val_check_interval"),
    ("--trainer.limit_train_batches 1.5", "invalid value 1.5 for limit_train_batches"),
    ("--trainer.limit_val_batches -1.5", "invalid value -1.5 for limit_val_batches"),
    ("--trainer.gradient_clip_algorithm foo", "Allowed algorithms: ['value', 'norm']"),
    ("--trainer.fast_dev_run -1", "fast_dev_run=-1 is not a valid configuration"),
    ("--trainer.profiler foo", "it can only be one of ['simple', 'advanced', 'pytorch', 'xla']"),
    ("--trainer.precision transformer-engine", "transformer_engine"),
]

WHEN_IT_STARTS = [
    ("--trainer.val_check_interval 5000", "`val_check_interval` (5000) must be less than or equal to the number"),
    ("--trainer.callbacks BackboneFinetuning", "BackboneFinetuning: AttributeError: 'QALightningModule' object has no"),
    ("--trainer.callbacks LearningRateMonitor --trainer.logger false", "Cannot use `LearningRateMonitor` callback"),
    ("--trainer.logger CSVLogger --trainer.logger.save_dir /proc/none", "/proc/none: No such file or directory"),
    ("--model.optimizer SGD --model.optimizer.lr -1", "SGD: Invalid learning rate: -1"),
    ("--model.optimizer torch.optim.AdamW --model.optimizer.betas [2,3]", "AdamW: Invalid beta parameter at index 0"),
    ("--model.optimizer torch.optim.SparseAdam", "SparseAdam does not support dense gradients"),
    (
        "--model.lr_scheduler torch.optim.lr_scheduler.StepLR --model.lr_scheduler.step_size 0",
        "StepLR: ZeroDivisionError: integer modulo by zero (QA_LIGHTNING_DEBUG=1 shows where)",
    ),
]


@pytest.mark.parametrize(("flags", "message"), BEFORE_ANYTHING_IS_BUILT)
def test_settings_are_refused_before_anything_is_built(fit: Refuse, flags: str, message: str) -> None:
    assert message in fit(*_words(flags))


@pytest.mark.parametrize(("flags", "message"), WHILE_IT_IS_BUILT)
def test_settings_are_refused_while_the_run_is_built(fit: Refuse, flags: str, message: str) -> None:
    assert message in fit(*_words(flags))


@pytest.mark.slow
@pytest.mark.parametrize(("flags", "message"), WHEN_IT_STARTS)
@pytest.mark.filterwarnings("ignore:Detected call of:UserWarning")  # torch's, of what SparseAdam did not do
def test_settings_are_refused_when_training_starts(fit: Refuse, flags: str, message: str) -> None:
    assert message in fit(*_words(flags))


def _words(flags: str) -> list[str]:
    """A command line's words; what is in brackets is one."""
    words: list[str] = []
    for word in flags.split():
        if words and words[-1][0] in "{[" and words[-1][-1] not in "}]":
            words[-1] += f" {word}"
        else:
            words.append(word)
    return words


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--trainer.callbacks EarlyStopping --trainer.callbacks.monitor nope", "conditioned on metric `nope`"),
        (
            "--trainer.callbacks tests.utils.test_refusals.Full",
            "error: somewhere/file: cannot be written: No space left on device",
        ),
        (
            "--trainer.callbacks tests.utils.test_refusals.Full --trainer.callbacks.memory true",
            "error: memory is used up",
        ),
    ],
)
def test_what_comes_up_in_training_is_one_line_too(fit: Refuse, flags: str, message: str) -> None:
    assert message in fit(*flags.split(), started=True)


def test_a_fault_shows_where_it_is(work: Path, model: Path, data: str) -> None:
    with pytest.raises(KeyError, match="no such key"):
        main([*fit_arguments(str(model), data, data), "--trainer.callbacks", "tests.utils.test_refusals.Broken"])


@pytest.mark.parametrize(
    "flags", [["--trainer.max_epochs", "-5"], ["--trainer.strategy", "fsdp"], ["--trainer.max_epochs", "few"]]
)
def test_the_traceback_is_shown_where_it_is_asked_for(
    work: Path, model: Path, data: str, flags: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("QA_LIGHTNING_DEBUG", "1")
    try:
        status: Any = main([*fit_arguments(str(model), data, data), *flags])
    except SystemExit as stopped:
        status = stopped.code
    printed = capsys.readouterr().err
    assert status == 2
    assert "Traceback (most recent call last)" in printed
    assert printed.splitlines()[-1].startswith("error: ")


def test_a_run_folder_that_is_a_file(refuse: Refuse, model: Path, data: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    for place, message in (
        (tmp_path / "file", "a file, where the run's folder should be"),
        (tmp_path / "file/run", "Not a"),
    ):
        line = refuse(*fit_arguments(str(model), data, data), "--run_dir", str(place))
        assert message in line
        assert str(place) in line
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"


def test_a_refused_run_leaves_what_was_there(fit: Refuse, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "config.yml").write_text("mine", encoding="utf-8")
    fit("--run_dir", str(folder), "--model.optimizer", "SGD", "--model.optimizer.lr", "-1")
    assert (folder / "config.yml").read_text(encoding="utf-8") == "mine"
    fit("--run_dir", str(tmp_path / "new/run"), "--model.optimizer", "SGD", "--model.optimizer.lr", "-1")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("command", ["test", "predict"])
def test_the_synthetic_corpus_is_no_test(refuse: Refuse, model: Path, command: str) -> None:
    line = refuse(command, "--model.model_name_or_path", str(model), "--data.synthetic", "{}", *SQUAD)
    assert f"set data.{command}_file" in line


def test_training_on_a_file_is_not_validated_on_the_synthetic_corpus(refuse: Refuse, model: Path, data: str) -> None:
    arguments = ("--model.model_name_or_path", str(model), "--data.train_file", data, "--data.synthetic", "{}")
    assert "validation would be on the synthetic corpus" in refuse("fit", *arguments, *SQUAD)


def test_a_file_that_is_taken_in_the_place_of_the_corpus_is_named(
    work: Path, model: Path, data: str, caplog: pytest.LogCaptureFixture
) -> None:
    arguments = ["--model.model_name_or_path", str(model), "--data.validation_file", data, "--data.synthetic", "{}"]
    with caplog.at_level("INFO"):
        assert main(["validate", *arguments, "--trainer.accelerator", "cpu", *SQUAD]) == 0
    assert "validation: data.validation_file is taken, not data.synthetic" in caplog.text


def test_a_tokenizer_without_special_tokens_is_pointed_out(work: Path, model: Path, data: str, tmp_path: Path) -> None:
    plain = Path(shutil.copytree(model, tmp_path / "plain"))
    tokenizer = json.loads((plain / "tokenizer.json").read_text(encoding="utf-8"))
    (plain / "tokenizer.json").write_text(json.dumps(tokenizer | {"post_processor": None}), encoding="utf-8")
    arguments = ["--model.model_name_or_path", str(plain), "--data.validation_file", data]
    with pytest.warns(UserWarning, match=r"plain knows \[CLS\] and puts neither it nor another special token around"):
        assert main(["validate", *arguments, "--trainer.accelerator", "cpu", *SQUAD]) == 0


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(10 * [f'*{before}'])}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (BOMB.encode(), "its aliases stand for more than 2,000,000 characters"),
        (b"a: &a [*a]\n", "the alias *a stands within itself"),
        (b"a: " + b"[" * 100_000, "more than 100 deep"),
        (b"a: " + b"x" * 5_000_000, "too many for settings"),
        (b"\x89PNG\r\n\x1a\n\x00", "not a config, which is text in UTF-8"),
        ("trainer: {}\n".encode("utf-16"), "not a config, which is text in UTF-8"),
        (b"trainer:\n  max_epochs: 1\x00\n", "control characters are not allowed"),
        (b"trainer:\n  max_epochs: " + b"9" * 5_000, "value has 5000 digits"),
        (b"- 1\n", "Unexpected config"),
    ],
)
@pytest.mark.parametrize("command", ["fit", "inspect"])
def test_a_config_that_is_none(refuse: Refuse, tmp_path: Path, content: bytes, message: str, command: str) -> None:
    config = tmp_path / "config.yaml"
    config.write_bytes(content)
    assert message in refuse(command, "--config", str(config))


def test_aliases_are_counted_wherever_they_stand(refuse: Refuse, tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text(BOMB, encoding="utf-8")
    for flags in (["--data", str(tmp_path / "data.yaml")], ["--data.column_names", BOMB]):
        assert "its aliases stand for more" in refuse("fit", *flags)


def test_yaml_of_any_use_passes() -> None:
    check_yaml("base: &base {lr: 1, files: [a, b]}\n" + "".join(f"run{i}: *base\n" for i in range(1000)), "x")
    check_yaml("a: [unfinished, " + "x" * 1000, "x")  # what loads it says what is wrong
    check_yaml("a: " + "x" * (MOST - 10), "x")
    with pytest.raises(UserError, match="stand for more"):
        check_yaml("a: &a " + "x" * 1000 + "\nb: [" + "*a, " * 3000 + "]\n", "x")


def edited(folder: Path, name: str, **values: Any) -> Path:
    """A copy of a model folder whose configuration has other values."""
    copy = Path(shutil.copytree(folder, folder.parent / name))
    config = json.loads((copy / "config.json").read_text(encoding="utf-8"))
    (copy / "config.json").write_text(json.dumps(config | values), encoding="utf-8")
    return copy


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_hidden_layers": 10**9}, "num_hidden_layers is 1000000000; no model has more than 2,000"),
        ({"num_hidden_layers": -1}, "num_hidden_layers is -1"),
        ({"vocab_size": 10**12}, "with hidden_size = 16 and vocab_size = 1000000000000 one matrix alone"),
        ({"max_position_embeddings": 10**10}, "no model has more than 20,000,000"),
        ({"text_config": {"n_layer": 10**9}}, "n_layer is 1000000000"),
        ({"block_sizes": [4, 10**9]}, "block_sizes is 1000000000"),
    ],
)
def test_a_model_without_measure_is_not_begun(
    refuse: Refuse, model: Path, data: str, tmp_path: Path, values: dict[str, Any], message: str
) -> None:
    folder = edited(Path(shutil.copytree(model, tmp_path / "model")), "huge", **values)
    line = refuse(*fit_arguments(str(folder), data, data))
    assert message in line
    assert "config.json" in line


def test_large_models_are_not_too_large() -> None:
    largest = {"hidden_size": 16384, "num_hidden_layers": 126, "vocab_size": 128256, "intermediate_size": 53248}
    check_model_size(largest | {"max_position_embeddings": 10_485_760, "rope_theta": 5e5, "tie": True, "x": None}, "x")
    check_model_size({"max_relative_positions": -1, "vision_feature_layer": -2, "num_hidden_layers": 0}, "x")


def test_where_an_exception_was_raised_decides() -> None:
    def caught(function: Callable[[], Any]) -> Exception:
        try:
            function()
        except Exception as error:
            return error
        raise AssertionError

    before, after = Progress(), Progress(started=True)
    of_torch = caught(lambda: torch.nn.Linear(2, 2).no_such_thing)
    assert "no_such_thing" in str(refusal(of_torch, before))
    assert refusal(of_torch, after) is None
    of_an_optimizer = caught(lambda: torch.optim.SGD([torch.zeros(1)], lr=-1))
    assert "SGD: Invalid learning rate" in str(refusal(of_an_optimizer, after))
    ours = caught(lambda: {}["key"])
    assert refusal(ours, before) is None
    no_memory = caught(lambda: torch.empty(2**60))
    assert "memory is used up" in str(refusal(no_memory, after))
    with pytest.raises(KeyError), unwrap_user_errors(before):
        raise ours


def test_long_and_coloured_messages_become_one_short_line() -> None:
    assert one_line("\x1b[31mred\x1b[0m\n  and\tblue\x00") == "red and blue"
    assert one_line("a " + "x" * 5000 + " z").startswith("a xxx")
    assert one_line("a " + "x" * 5000 + " z").endswith("xxx z")
    assert len(one_line("word " * 5000)) == 1500
