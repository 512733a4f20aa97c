"""Ways to run the preparation: each turns raw files into shards."""
