"""The report of a retraining: one page, its figures and sentences."""
