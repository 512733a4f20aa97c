"""Raw files to typed rows."""
