"""Sources: what can become a batch."""
