"""What data are like, before anything trains: classes, copies, odd samples, and what a person should be told of it."""
