"""The needs of a run, worked out before it begins; no TensorFlow."""
