"""From a model to a directory that others load."""
