"""Texts: tables, tokens, and the sets that are made of them."""
