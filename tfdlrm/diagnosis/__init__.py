"""What works on this machine, found out without training anything."""
