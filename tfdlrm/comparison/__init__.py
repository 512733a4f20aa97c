"""Comparison of models and optimizers."""
