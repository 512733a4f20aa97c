"""Training on a stream of clicks."""
