"""Models and optimizers side by side."""
