"""The systems that are measured: this project and its peers."""
