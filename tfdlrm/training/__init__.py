"""Fitting a model, and what watches it."""
