"""Values to ids, and rows with ids."""
