"""``inspect`` as a user types it: figures, examples, the page, and mistakes."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from qa_lightning.cli.inspect import notes
from qa_lightning.cli.main import main
from qa_lightning.data.split_sources import SplitSources
from qa_lightning.data.train_sets import TrainSet
from qa_lightning.inspection.statistics import Example
from qa_lightning.inspection.tables import data_name
from tests.conftest import ROOT
from tests.report.chromium import chromium
from tests.tiny import SQUAD, tiny_folder, write_squad

HOSTILE = "<script>alert(1)</script> \"'><img src=x onerror=alert(2)> {{ 7*7 }} \x1b[31m\x07 \u202e [red]x[/red]"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_folder(tmp_path_factory.mktemp("model")))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with a terminal of 100 columns."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


class Page(HTMLParser):
    """The elements of a page, and what its tables and examples say."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.marked: list[str] = []
        self._inside: str = ""
        self.text = path.read_text(encoding="utf-8")
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "mark":
            self.marked.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside in ("td", "th"):
            self.rows[-1][-1] += data
        if self._inside == "mark":
            self.marked[-1] += data


def arguments(model: str, train: Path, *others: str) -> list[str]:
    return ["inspect", "--model.model_name_or_path", model, "--data.train_file", str(train), *SQUAD, *others]


def cells(shown: str, name: str) -> list[str]:
    """The cells of the first row of a printed table with this name."""
    row = next(line for line in shown.splitlines() if re.match(rf"│ {re.escape(name)} +│", line))
    return [" ".join(cell.split()) for cell in row.strip("│").split("│")][1:]


def test_figures_of_each_split_and_examples(here: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    train, dev = write_squad(here / "train.json", copies=2), write_squad(here / "dev.json", impossible=True)
    files = ["--data.validation_file", str(dev), "--data.test_file", str(train)]
    v2 = ["--data.version_2_with_negative", "true", "--model.max_answer_length", "1"]
    assert main([*arguments(model, train), *files, *v2, "--samples", "12"]) == 0
    shown = capsys.readouterr().out
    assert cells(shown, "questions") == ["12", "9"]
    assert cells(shown, "distinct contexts") == ["3", "3"]
    assert cells(shown, "unanswerable") == ["0", "3 (33.3 %)"]
    assert cells(shown, "exact") == ["12 (100.0 %)", "6 (100.0 %)"]
    assert cells(shown, "golds that no window holds whole") == ["0", "0"]
    assert cells(shown, "scored by the rule of") == ["SQuAD 2.0", "SQuAD 2.0"]
    for row in ("EM of the golds' own tokens", "F1 of the golds' own tokens", "EM, upper bound", "F1, upper bound"):
        assert cells(shown, row) == ["100.00", "100.00"]
    assert cells(shown, "train")[0] == "30"  # the shortest context: "Alan lived in a house in Rome."
    assert shown.count("Splits") == 2  # the test split, beneath
    assert shown.count("── Example ") == 12
    assert "»Ada« wrote the first program in London." in shown
    assert cells(shown, "max_answer_length") == ["1"]
    assert {path.name for path in here.iterdir()} == {"train.json", "dev.json"}


def test_questions_are_shown_as_they_may_be_augmented(
    here: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    train = write_squad(here / "train.json", copies=2)
    templates = ["--data.augmentation.templates", "['Say: {question}']", "--samples", "2", "--windows", "0"]
    assert main([*arguments(model, train), *templates]) == 0
    shown = capsys.readouterr().out
    names = re.findall(r"── Example \d · ([-\w]+)(, augmented)? ──", shown)
    assert [name for name, _ in names[:2]] == [name for name, _ in names[2:]]
    assert [bool(more) for _, more in names] == [False, False, True, True]
    assert shown.count("Say: W") == 2


def test_the_quickstart_made_small(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    small = ["--data.synthetic.train_passages", "20", "--data.synthetic.validation_passages", "5"]
    page = here / "new" / "page.html"
    command = ["inspect", "--config", "configs/quickstart.yaml", *small, "--samples", "2"]
    assert main([*command, "--html", str(page)]) == 0
    first = capsys.readouterr().out
    assert cells(first, "questions") == ["80", "20"]
    assert cells(first, "max_answer_length") == ["9"]  # the model's setting
    assert cells(first, "F1 of the golds' own tokens") == ["100.00", "100.00"]
    assert main([*command, "--seed", "1"]) == 0
    second = capsys.readouterr().out
    examples = [re.findall(r"Example \d · (\S+)", shown) for shown in (first, second)]
    assert len(examples[0]) == len(examples[1]) == 2
    assert examples[0] != examples[1]
    # The page says what the terminal says.
    rows = {row[0]: row[1:] for row in Page(page).rows}
    for name in ("questions", "unanswerable", "windows", "windows of a question, mean", "EM, upper bound"):
        assert [" ".join(cell.split()) for cell in rows[name]] == cells(first, name)
    assert not Path("lightning_logs").exists()


def test_what_is_bounded_or_repaired_is_said(here: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"id": str(n), "question": "Who?", "context": "Ada wrote the program.", "answers": answer}
        for n, answer in enumerate(["ada", "Grace", "ad", "wrot", "rogra"])
    ]
    (here / "rows.json").write_text(json.dumps(rows), encoding="utf-8")
    assert main(arguments(model, here / "rows.json")) == 0
    shown = capsys.readouterr().out
    assert cells(shown, "found: without an offset") == ["2 (40.0 %)"]
    assert cells(shown, "repaired: case") == ["2 (40.0 %)"]
    assert cells(shown, "not found") == ["1 (20.0 %)"]
    assert cells(shown, "dropped: no answer found") == ["1"]
    # Only "Ada" is made of whole tokens; the others stand in the context as parts of words.
    assert cells(shown, "EM of the golds' own tokens") == ["25.00"]
    assert cells(shown, "EM, upper bound") == ["100.00"]
    assert "published: ada" in shown
    assert "tokens cover: wrote" in shown
    assert "repaired: moved" not in shown


def test_splits_differ_in_why_they_lost_questions(here: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    def write(name: str, **wrong: str) -> Path:
        row = {"id": "1", "question": "Who?", "context": "Ada wrote the program.", "answers": "Ada"}
        (here / name).write_text(json.dumps([row, row | {"id": "2"} | wrong]), encoding="utf-8")
        return here / name

    files = ["--data.validation_file", str(write("dev.json", answers="Grace"))]
    assert main([*arguments(model, write("no-question.json", question=" ")), *files]) == 0
    shown = capsys.readouterr().out
    assert cells(shown, "dropped: empty question") == ["1", "0"]
    assert cells(shown, "not found") == ["0", "1 (50.0 %)"]
    assert main([*arguments(model, write("no-context.json", context="")), *files]) == 0
    assert cells(capsys.readouterr().out, "dropped: empty context") == ["1", "0"]


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_file_without_one_to_train_on(here: Path, model: str, capsys: pytest.CaptureFixture[str], split: str) -> None:
    dev = write_squad(here / "dev.json")
    command = ["inspect", "--model.model_name_or_path", model, f"--data.{split}_file", str(dev), *SQUAD]
    assert main([*command, "--samples", "2", "--html", "page.html"]) == 0
    shown = capsys.readouterr().out
    assert cells(shown, "questions") == ["6"]
    assert re.search(rf"┃ +{split} ┃", shown)
    assert shown.count("── Example ") == 2
    assert shown.count("── Window ") == 1
    assert len(Page(here / "page.html").marked) == 2


def test_scores_are_by_the_rule_of_each_sets_language(
    here: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"id": "1", "question": "Who?", "context": "der Ada wrote the program.", "answers": "die Ada"}
    (here / "rows.json").write_text(json.dumps([row]), encoding="utf-8")
    command = ["inspect", "--model.model_name_or_path", model, *SQUAD, "--samples", "0", "--windows", "0"]
    sets = json.dumps({"a": str(here / "rows.json"), "b": str(here / "rows.json")})
    named = ["--data.validation_file", sets, "--model.language", "{a: de, b: en}"]
    assert main([*command, *named]) == 0
    shown = capsys.readouterr().out
    assert cells(shown, "scored by the rule of") == ["MLQA, de", "MLQA, en"]
    assert cells(shown, "EM, upper bound") == ["100.00", "0.00"]
    assert main([*command, "--data.validation_file", str(here / "rows.json"), "--model.language", "de"]) == 0
    assert cells(capsys.readouterr().out, "scored by the rule of") == ["MLQA, de"]


def test_the_tokens_of_windows(here: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    context = "Ada wrote the first program in London. " + "Alan lived in a house. " * 12
    row = {"id": "long", "question": "Who wrote it?", "context": context, "answers": "Ada"}
    (here / "rows.json").write_text(json.dumps([row]), encoding="utf-8")
    assert main([*arguments(model, here / "rows.json"), "--html", "page.html", "--windows", "5"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"── Window 1 of \d · long ──", shown)
    assert "[CLS] who wrote i ##t ? [SEP] ada wrote the first program" in shown
    assert cells(shown, "0") == ["[CLS]", "", "", "special", ""]
    assert cells(shown, "2") == ["wrote", "wrote", "4–9", "question", ""]
    assert cells(shown, "7") == ["ada", "Ada", "0–3", "context", "start, end"]
    assert cells(shown, "47") == ["[SEP]", "", "", "special", ""]
    assert cells(shown, "…") == ["30 more", "", "", "context", ""]
    page = Page(here / "page.html")
    rows = {row[0]: row[1:] for row in page.rows}
    assert rows["7"] == ["ada", "Ada", "0–3", "context", "start, end"]
    assert set(map(str, range(48))) <= set(rows)  # none is left out
    assert [attributes for tag, attributes in page.tags if tag == "tr" and attributes] == [{"class": "labelled"}]
    assert main([*arguments(model, here / "rows.json"), "--html", "page.html", "--windows", "0"]) == 0
    assert "── Window" not in capsys.readouterr().out
    assert "[CLS]" not in (here / "page.html").read_text(encoding="utf-8")


def test_checks_and_histograms(here: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    train, dev = write_squad(here / "train.json"), write_squad(here / "dev.json", impossible=True)
    files = ["--data.validation_file", str(dev), "--data.version_2_with_negative", "true"]
    assert main([*arguments(model, train), *files, "--html", "page.html"]) == 0
    shown = capsys.readouterr().out
    assert cells(shown, "contexts that train has too") == ["–", "3 (100.0 %)"]
    assert cells(shown, "asked twice on a context, with other golds") == ["0", "0"]
    assert re.search(r"validation: contexts that train has too: '\S+', ", shown)
    page = Page(here / "page.html")
    assert "<title>train.json and dev.json: the data</title>" in page.text
    assert ["contexts that train has too", "–", "3 (100.0\N{NO-BREAK SPACE}%)"] in page.rows
    pictures = [attributes["aria-label"] or "" for tag, attributes in page.tags if tag == "svg"]
    assert [label.split(" in tokens, ")[0] for label in pictures[::2]] == [
        "Questions",
        "Contexts",
        "Answers",
        "Windows",
    ]
    assert [label.split(", ")[1].split(":")[0] for label in pictures] == ["train", "validation"] * 4


def test_a_column_for_each_training_set(here: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    train, dev = write_squad(here / "train.json", copies=2), write_squad(here / "dev.json", impossible=True)
    sets = f"{{one: {{file: {train}}}, other: {{file: {dev}}}}}"
    flags = ["--data.train_sets", sets, "--data.validation_file", str(dev), "--data.version_2_with_negative", "true"]
    assert main(["inspect", "--model.model_name_or_path", model, *SQUAD, *flags]) == 0
    shown = capsys.readouterr().out
    assert "train/one" in shown
    assert cells(shown, "questions") == ["12", "9"]
    assert cells(shown, "questions that train has too") == ["9 (100.0 %)"]
    assert "validation: questions that train has too: " in shown


def test_training_sets_are_called_by_their_sources() -> None:
    none = dict.fromkeys(("train", "validation", "test", "predict"))
    hub: Any = dict.fromkeys(("dataset_name", "dataset_config_name", "dataset_revision"))
    others: Any = {"selections": {}, "column_names": None, "text_format": None, "synthetic": None}
    sets = {"a": TrainSet(file=["a/x.json", "y.json"]), "b": TrainSet(dataset_name="squad")}
    assert data_name(SplitSources(files=none, train_sets=sets, **hub, **others)) == "x.json, y.json and squad"


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (
            {"train": "a/x.json", "validation": {"en": "b/y.json", "vi": ["z.json", "b/y.json"]}},
            "x.json, y.json and z.json",
        ),
        ({"train": ["1", "2", "3", "4"]}, "1, 2 and 2 more"),
        ({"train": "a/x.json"}, "x.json"),
        ({"dataset_name": "squad/none", "dataset_config_name": "v2"}, "squad/none v2"),
        ({}, "synthetic corpus"),
    ],
)
def test_data_are_called_what_they_are_read_from(settings: dict[str, Any], name: str) -> None:
    files = {split: settings.get(split) for split in ("train", "validation", "test", "predict")}
    hub = {key: settings.get(key) for key in ("dataset_name", "dataset_config_name", "dataset_revision")}
    others: Any = {"selections": {}, "column_names": None, "text_format": None, "synthetic": None}
    assert data_name(SplitSources(files=files, **hub, **others)) == name


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_shows_the_page_offline(here: Path, model: str, width: int) -> None:
    train, dev = write_squad(here / "train.json"), write_squad(here / "dev.json")
    assert main([*arguments(model, train), "--data.validation_file", str(dev), "--html", "page.html"]) == 0
    complaints: list[str] = []
    requests: list[str] = []
    with chromium() as browser:
        page = browser.new_page(viewport={"width": width, "height": 844})
        page.on("console", lambda message: complaints.append(message.text))
        page.on("request", lambda request: requests.append(request.url))
        page.goto((here / "page.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        heights = page.locator("figure rect").evaluate_all(
            "bars => bars.map(bar => bar.getBoundingClientRect().height)"
        )
        texts = page.locator("figure text").evaluate_all(
            "texts => texts.map(text => parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a)"
        )
        wide = page.locator(".splits th").evaluate_all("found => found.some(cell => cell.scrollWidth > innerWidth)")
    assert min(heights) >= 1
    assert min(texts) >= 11
    assert not wide
    assert complaints == []
    assert len(requests) == 1


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_shows_what_is_being_done(
    here: Path, model: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], terminal: bool
) -> None:
    monkeypatch.setenv("FORCE_COLOR" if terminal else "NO_COLOR", "1")
    assert main(arguments(model, write_squad(here / "train.json"))) == 0
    said = capsys.readouterr().err
    for what in ("Reading and tokenising", "Measuring train"):
        assert (what in said) == terminal
    assert ("\x1b" in said) == terminal


def test_text_from_data_is_only_text(here: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    row = {
        "id": HOSTILE,
        "question": HOSTILE,
        "context": f"{HOSTILE} Ada wrote {HOSTILE}",
        "answers": {"text": ["Ada", HOSTILE], "answer_start": [len(HOSTILE) + 1, 0]},
    }
    (here / "rows.json").write_text(json.dumps([row]), encoding="utf-8")
    named = json.dumps({"<b>v": str(here / "rows.json")})
    command = [*arguments(model, here / "rows.json"), "--data.validation_file", named]
    sizes = ["--data.max_length", "200", "--data.max_question_length", "100", "--data.doc_stride", "20"]
    assert main([*command, *sizes, "--html", "page.html"]) == 0
    shown = capsys.readouterr().out
    assert "validation/<b>v" in shown
    assert "[red]x[/red]" in shown
    assert not {"\x1b", "\x07", "\u202e"} & set(shown)
    page = Page(here / "page.html")
    assert not {"script", "img", "b", "red"} & {tag for tag, _ in page.tags}
    assert not [key for _, attributes in page.tags for key in attributes if key.startswith("on") or key == "style"]
    assert "7*7" in page.text
    assert page.marked == ["Ada"]
    # Nothing may be loaded or run, and nothing but the page's own style styles it.
    policy = next(a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    style = page.text.split("<style>")[1].split("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy is not None
    assert f"default-src 'none'; style-src 'sha256-{digest}';" in policy
    assert "http" not in re.sub("http-equiv", "", page.text)
    # Data reads in its own direction.
    assert [a.get("dir") for tag, a in page.tags if a.get("class") in ("id", "question", "context")] == ["auto"] * 3
    assert {a.get("dir") for tag, a in page.tags if tag in ("dd", "h1")} == {"auto"}


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--data.max_lenth", "48"], "unknown key 'max_lenth'; did you mean 'max_length'?"),
        (["--sample", "3"], "did you mean 'samples'?"),
        (["--data.train_file", "absent.json"], "absent.json: no such file"),
        (["--config", "absent.yaml"], "absent.yaml"),
        (["--samples", "-1"], "samples must be at least 0, not -1"),
        (["--windows", "-1"], "windows must be at least 0, not -1"),
        (["--model.language", "xx"], "language 'xx' is not known"),
        (["--model.max_answer_length", "0"], "max_answer_length must be at least 1, not 0"),
        (["--data.batch_size", "0"], "batch_size must be at least 1, not 0"),
        (["--html", "."], "is a folder; --html names a file"),
        (["--html", "train.json/page.html"], "cannot be written"),
        (["--run_dir", "absent"], "absent: no run there"),
        (["--data.on_misaligned", "hope"], "on_misaligned"),
    ],
)
def test_mistakes_end_in_one_line(
    here: Path, model: str, capsys: pytest.CaptureFixture[str], flags: list[str], said: str
) -> None:
    write_squad(here / "train.json")
    try:
        status = main(arguments(model, Path("train.json"), *flags))
    except SystemExit as error:
        status = int(error.code or 0)
    captured = capsys.readouterr()
    assert status == 2
    errors = [line for line in captured.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, captured.err
    assert said in errors[0]
    assert "Traceback" not in captured.err
    assert [path.name for path in here.iterdir()] == ["train.json"]


def test_no_data_and_no_tokenizer(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect"]) == 2
    assert "no data for train" in capsys.readouterr().err
    assert main(["inspect", "--data.train_file", str(write_squad(here / "train.json"))]) == 2
    assert "no tokenizer" in capsys.readouterr().err


def test_the_help_names_its_flags(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("usage: python -m qa_lightning inspect ")
    for flag in ("--samples", "--windows", "--seed ", "--html", "--config", "--data", "--model"):
        assert flag in shown


def test_an_example_is_noted_only_for_what_its_highlight_does_not_say() -> None:
    assert notes(Example("1", "Who?", "", "Ada", " wrote", "Ada", ())) == {}
    assert notes(Example("1", "Who?", "", "Ada", " wrote", None, ())) == {"tokens cover": "nothing"}
    assert notes(Example("1", "Who?", "Ada", None, "", None, ())) == {"answer": "none, the question is unanswerable"}


def test_groups_of_the_optimizer(here: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    flags = "layer_decay 0.5 head_learning_rate 0.001 freeze_embeddings true".split()
    settings = [
        part
        for name, value in zip(flags[::2], flags[1::2], strict=True)
        for part in (f"--model.optimization.{name}", value)
    ]
    asked = [*arguments(model, here / "none.json"), "--optimizer", "true", *settings]
    assert main([*asked, "--model.learning_rate", "0.0002", "--model.weight_decay", "0.1"]) == 0
    shown = capsys.readouterr().out
    assert "Optimizer: AdamW" in shown
    assert cells(shown, "layer 0") == ["2,048", "0.0001", "0.1"]
    assert cells(shown, "layer 0/bias_and_norm") == ["176", "0.0001", "0"]
    assert cells(shown, "head") == ["32", "0.001", "0.1"]
    assert cells(shown, "frozen")[1:] == ["", ""]
    assert main([*arguments(model, here / "none.json"), "--optimizer", "true"]) == 0
    assert cells(capsys.readouterr().out, "matrices")[1:] == ["5e-05", "0"]
    assert main([*asked, "--model.optimization.freeze_layers", "2"]) == 2
    assert "the model has 1 layers, not 2" in capsys.readouterr().err
    assert main([*asked, "--html", "page.html"]) == 2
    assert "leave out one of them" in capsys.readouterr().err
