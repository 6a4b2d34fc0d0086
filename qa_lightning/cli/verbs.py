"""Verbs of the command line besides Lightning's: each module has ``run(arguments)`` and a parser of its own."""

TRAINER_VERBS = {
    "fit": "train a model, and keep the best",
    "validate": "score a model on the validation data",
    "test": "score a model on the test data",
    "predict": "answer the questions of a file",
}
"""The verbs of Lightning's trainer, and what each does."""

VERBS = {
    "inspect": "look at data before training",
    "score": "score predictions in a file, without a model",
    "compare": "say whether runs differ, question by question",
    "report": "write a page that shows a run's scores and answers",
    "ask": "ask a model about a text",
    "demo": "open a page on which to ask a model",
    "serve": "answer questions over HTTP",
    "export": "write a model as a folder that other programs can use",
}
"""The verbs, which are the names of modules here, and what each does."""
