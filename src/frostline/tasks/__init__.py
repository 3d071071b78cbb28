"""Tasks: what is asked of the labels, from their text in a table to losses, scores and predictions."""
