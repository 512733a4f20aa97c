"""Training runs from raw rows or a data set to an exported model."""
