"""Safety of version files: nothing that is loaded may name code to run (docs/adr/0007)."""
