"""The resumable work between raw files and shards."""
