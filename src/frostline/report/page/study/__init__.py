"""What the report of a study says."""
