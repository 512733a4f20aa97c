"""A run on disk: weights, optimizer state and progress."""
