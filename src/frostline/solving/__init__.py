"""Linear models solved to their optimum: many of them at once, over one decomposition of the features they share."""
