"""Many evaluation sets as one: read from a file of YAML, asked, scored, and shown as one table."""
