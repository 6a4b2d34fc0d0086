"""``seeds``: trains the same over several seeds, and says how far the scores spread."""

from __future__ import annotations

from qa_lightning.cli.experiment import (
    add_seeds,
    command_of,
    experiment_parser,
    parse_with_fit,
    say,
    says_how_to_go_on,
)


def run(arguments: list[str]) -> None:
    """Trains with each seed, prints the scores, and says where the table and the page are.

    Raises:
        UserError: Something is wrong with the arguments, or a training fails.
    """
    parser = experiment_parser("seeds", "Trains the same over several seeds: mean, spread, and an interval over both.")
    add_seeds(parser)
    options, fit = parse_with_fit(parser, arguments)
    # Imported here, since what reads tables takes a moment that --help and a mistake need not wait for.
    from qa_lightning.cli.tables import print_table
    from qa_lightning.experiments.seeds import VERB, run_seeds, spread_table

    with says_how_to_go_on(VERB, arguments):
        command = command_of(VERB, arguments)
        spreads = run_seeds(options.output, options.seeds, fit, command=command, workers=options.workers, say=say)
    print_table(spread_table(spreads))
    print(f"The page is {options.output}/seeds.html, the table {options.output}/seeds.parquet")
