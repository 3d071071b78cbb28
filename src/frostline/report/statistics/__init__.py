"""What may be said about the scores that were read: means, intervals, differences, ranks and a verdict."""
