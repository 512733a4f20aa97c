"""A server for exported models with TF Serving's protocols, and its client."""
