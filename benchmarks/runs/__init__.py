"""Single measurements, each a process that a command starts."""
