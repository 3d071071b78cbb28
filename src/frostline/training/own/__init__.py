"""One's own LightningModule: its groups, its optimizer, and the phase it is in."""
