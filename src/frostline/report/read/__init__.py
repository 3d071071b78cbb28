"""What a report is about, read from records and from the files beside them."""
