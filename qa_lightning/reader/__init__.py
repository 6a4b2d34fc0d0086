"""Asking a model from Python: `Reader` and `pipeline`."""
