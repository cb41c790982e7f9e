"""Raw batches, inbox, DVC, dataset versions and prepared arrays."""
