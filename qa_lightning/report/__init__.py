"""Draws a run as a page and as pictures: scores, charts, and its questions to look at."""
