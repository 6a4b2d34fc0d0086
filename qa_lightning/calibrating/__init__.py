"""The temperatures by which a model's scores become probabilities that say how often it is right."""
