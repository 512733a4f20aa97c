"""The work of every system."""
