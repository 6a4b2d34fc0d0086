"""Verbs of the command line besides Lightning's: each module has ``run(arguments)`` and a parser of its own."""
