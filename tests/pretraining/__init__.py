"""Tests of continued pre-training on plain text."""
