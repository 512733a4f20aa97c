"""Measures of scores: how good they are, and what they depend on."""
