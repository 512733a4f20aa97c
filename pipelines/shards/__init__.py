"""From rows with ids to the files of a data set."""
