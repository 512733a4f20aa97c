"""How to measure: processes, clocks, memory, tables."""
