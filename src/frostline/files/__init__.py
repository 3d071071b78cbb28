"""Files: whole or absent, named so that leftovers are found, and read with suspicion."""
