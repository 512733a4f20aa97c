"""Rows made up: the Criteo twin."""
