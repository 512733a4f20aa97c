"""How it is measured: processes, clocks, memory, tables."""
