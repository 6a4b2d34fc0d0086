"""``crossval``: trains on all folds but one for each fold, and scores all predictions as one run."""

from __future__ import annotations

from qa_lightning.cli.experiment import command_of, experiment_parser, parse_with_fit, say, says_how_to_go_on


def run(arguments: list[str]) -> None:
    """Trains and predicts each fold, prints the scores, and says where the run, the table and the page are.

    Raises:
        UserError: Something is wrong with the arguments or the data, or a training fails.
    """
    parser = experiment_parser("crossval", "Cross-validation on the training data: each question is scored once.")
    parser.add_argument("--folds", metavar="N", type=int, default=5, help="how many folds (5)")
    parser.add_argument(
        "--group_by",
        metavar="NAME",
        default="paragraph",
        help="what folds do not share: paragraph, or a column of the data or value of SQuAD's articles, such as title "
        "(paragraph)",
    )
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of the choice of folds (0)")
    options, fit = parse_with_fit(parser, arguments)
    if options.seed < 0:
        parser.error(f"--seed must be at least 0, not {options.seed}")
    # Imported here, since what reads tables takes a moment that --help and a mistake need not wait for.
    from qa_lightning.cli.tables import print_table
    from qa_lightning.experiments.crossval import VERB, run_crossval

    with says_how_to_go_on(VERB, arguments):
        found = run_crossval(
            options.output,
            options.folds,
            fit,
            command=command_of(VERB, arguments),
            group_by=options.group_by,
            seed=options.seed,
            workers=options.workers,
            say=say,
        )
    from qa_lightning.experiments.crossval_page import folds_table, how_made, scores_table

    print_table(scores_table(found.metrics))
    print_table(folds_table(found.folds, brief=True))
    say(how_made(found.pooled, options.folds, options.group_by))
    say(
        f"The run is {options.output}, the page {options.output}/{VERB}.html, the table {options.output}/{VERB}.parquet"
    )
