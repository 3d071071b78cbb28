"""Weights from files: read without executing anything, loaded strictly."""
