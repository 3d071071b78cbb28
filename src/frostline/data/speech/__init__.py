"""Recordings: files, waves, frames, and the sets that are made of them."""
