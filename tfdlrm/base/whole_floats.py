"""Integers that pandas wrote as floats."""

WHOLE_FLOAT = r"^-?(0)\.0$|^(-?[1-9][0-9]{0,15})\.0$"
"""A category that is an integer as pandas writes it in a column with missing values.

The integer is the first group or the second one. Polars and TensorFlow read it alike.
"""
