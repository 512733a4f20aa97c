"""From raw logs to the data set directory that training reads."""
