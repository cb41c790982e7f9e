"""Which trials to run, and which of them is best; pure."""
