"""The foundation of all rooms: errors, command line, storage, progress."""
