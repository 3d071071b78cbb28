"""Freeze strategies: rules that turn a backbone's groups into a plan, and the plan as data."""
