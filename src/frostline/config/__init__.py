"""From overrides to one typed, checked config."""
