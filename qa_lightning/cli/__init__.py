"""The command line: Lightning's subcommands, and verbs with small parsers of their own."""
