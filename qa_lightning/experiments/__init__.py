"""What is made of many trainings: the same over seeds, folds and shares of the data."""
