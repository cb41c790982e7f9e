"""Plain records and the files in mlruns/ that hold them; no service is imported."""
