"""``report RUN``: one page that shows a run's scores, charts and questions."""

from __future__ import annotations

from pathlib import Path

from qa_lightning.cli.arguments import VerbParser
from qa_lightning.runs.folder import RunFolder
from qa_lightning.runs.questions import read_questions


def run(arguments: list[str]) -> None:
    """Writes the page of the run that the arguments name, and prints where it is.

    Raises:
        UserError: Where the run has no per-question scores, or the page cannot be written.
    """
    parser = VerbParser("report", "Writes one page that shows a run's scores, charts and questions; it opens offline.")
    parser.add_argument("run", metavar="RUN", type=Path, help="folder of a fit, validate or test, or of one named set")
    parser.add_argument("--output", metavar="FILE", type=Path, help="where to write (default: RUN/report.html)")
    parser.add_argument("--questions", metavar="N", type=int, help="how many can be looked at (default: all)")
    parser.add_argument("--n_best", metavar="N", type=int, default=5, help="candidate answers of each (default: 5)")
    options = parser.parse_args(arguments)
    for flag, value in (("questions", options.questions), ("n_best", options.n_best)):
        if value is not None and value < 1:
            parser.error(f"--{flag} must be at least 1, not {value}")
    table = read_questions(options.run, complete=("question_type", "answers"))
    # Imported here, since matplotlib takes a second that --help and a mistake need not wait for.
    from qa_lightning.report.about import about_run
    from qa_lightning.report.page import write_page
    from qa_lightning.runs.calibration import calibration_of_run
    from qa_lightning.runs.history import read_curves, read_scores, run_name

    output = options.output or RunFolder(options.run).report
    scores, curves = read_scores(options.run), read_curves(options.run)
    about, calibration = about_run(options.run), calibration_of_run(options.run)
    name = run_name(options.run)
    write_page(output, name, table, scores, curves, options.n_best, options.questions, about, calibration)
    print(f"The report is in {output}")
