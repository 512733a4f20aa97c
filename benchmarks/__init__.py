"""Measurements of speed and memory, each a command that prints a table with peers."""
