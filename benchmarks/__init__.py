"""Measurements, each a program that prints a table and one line of JSON; no test depends on a time."""
