"""Measurements, each a program that prints a table and lines of JSON; no test depends on a time."""
