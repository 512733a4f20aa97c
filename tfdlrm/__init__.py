"""DLRM for TensorFlow and Keras: train, serve and reuse it."""

__version__ = "0.1.0"
