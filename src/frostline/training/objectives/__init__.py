"""What a phase minimises, one file each."""
