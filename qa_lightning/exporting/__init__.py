"""A trained model as a folder that other programs can use."""
