"""Checks of what works on this machine, without training anything."""
