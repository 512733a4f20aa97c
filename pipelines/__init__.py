"""From raw logs to the data set directory that training reads.

One word for one thing, here and in `tfdlrm`:

- *log*: what the user brings, text or Parquet
- *chunk*: a stretch of a text log that is parsed at once
- *piece*: a stretch of parsed rows spilled to disk
- *bucket*: one of the files over which rows are scattered to shuffle them
- *block*: up to 2,048 rows in one record
- *shard*: one file of a data set
- *window*: the rows that are shuffled in memory while training
- *batch*: the rows of one training step
- *entry*: one tensor in a checkpoint; in the journal of a run, one finished step
- *vocabulary*: the values of a column that have ids
- *bag*: the ids of one multi-hot column in one row
"""
