"""Several trained models as one: the mean of their weights, or of what they predict."""
