"""The exported model: writing it, finding its versions, loading it."""
