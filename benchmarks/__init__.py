"""Measurements of speed and memory, each a command that prints a table with peers.

`draw_pictures` draws the pictures of results in the documentation.
"""
