"""A page in the browser on which to ask a model."""
