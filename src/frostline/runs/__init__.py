"""One run: the builder of what it is made of, and its story from data to record."""
