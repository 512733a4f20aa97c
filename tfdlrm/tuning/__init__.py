"""Search for settings of training by the validation rows, with Optuna."""
