"""The simplest models on the rows of a data set, to hold other models against."""
