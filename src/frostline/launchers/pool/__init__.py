"""The pool: warm worker processes on this machine."""
