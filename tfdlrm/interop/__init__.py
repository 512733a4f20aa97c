"""Weights from and to other systems: Facebook's, NVIDIA's, TensorFlow Recommenders."""
