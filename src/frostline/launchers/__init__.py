"""Launchers: where runs are executed, each in a process of its own."""
