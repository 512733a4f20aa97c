"""Neighbours: weights from and to other systems, and other formats."""
