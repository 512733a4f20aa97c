"""Learning from a stream of clicks."""
