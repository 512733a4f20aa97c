"""What is measured: this project and its peers."""
