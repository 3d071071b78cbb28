"""The prefix cache: a frozen prefix of a network is computed once."""
