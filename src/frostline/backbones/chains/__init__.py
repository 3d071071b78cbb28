"""Networks over sequences, cut between their blocks."""
