"""``curve``: trains on shares of the data, and says what more of them would bring."""

from __future__ import annotations

import argparse

from qa_lightning.cli.experiment import (
    add_seeds,
    command_of,
    experiment_parser,
    parse_with_fit,
    say,
    says_how_to_go_on,
)


def run(arguments: list[str]) -> None:
    """Trains on each share with each seed, prints the curve, and says where the table and the page are.

    Raises:
        UserError: Something is wrong with the arguments or the data, or a training fails.
    """
    parser = experiment_parser("curve", "A learning curve over the training data: scores of nested shares of it.")
    parser.add_argument(
        "--fractions",
        metavar="LIST",
        type=_fractions,
        default=[0.01, 0.05, 0.25, 1.0],
        help="the shares (0.01,0.05,0.25,1); more can be added later",
    )
    add_seeds(parser)
    options, fit = parse_with_fit(parser, arguments)
    # Imported here, since what reads tables takes a moment that --help and a mistake need not wait for.
    from qa_lightning.cli.tables import print_table
    from qa_lightning.experiments.curve import VERB, run_curve

    with says_how_to_go_on(VERB, arguments):
        command = command_of(VERB, arguments)
        curve = run_curve(
            options.output,
            options.fractions,
            options.seeds,
            fit,
            command=command,
            workers=options.workers,
            say=say,
        )
    from qa_lightning.experiments.curve_page import curve_table, how_made, what_more_data_brings

    print_table(curve_table(curve))
    for line in (*what_more_data_brings(curve), how_made(curve)):
        say(line)
    say(f"The page is {options.output}/{VERB}.html, the table {options.output}/{VERB}.parquet")


def _fractions(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of shares, such as 0.05,0.25,1") from None
