"""What everything stands on: errors, command line, storage, progress."""
