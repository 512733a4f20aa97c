"""Learning day by day: score a day, then learn from it."""
