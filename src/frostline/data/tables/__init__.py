"""Tables of samples: CSV, TSV, JSON lines and Parquet."""
