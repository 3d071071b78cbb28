"""Records: what a run leaves behind, and the store that holds them."""
