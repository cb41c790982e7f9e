"""Search strategies: which trials to run, for how long, and which one is best. Pure functions."""
