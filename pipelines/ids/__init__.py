"""From values to ids, and rows that hold ids."""
