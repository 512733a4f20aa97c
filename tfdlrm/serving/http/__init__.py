"""The server's HTTP side: TF Serving's REST interface."""
