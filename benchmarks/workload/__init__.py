"""What every system is given to do."""
