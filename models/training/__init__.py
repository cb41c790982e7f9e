"""Training: one trial from its spec to a result, bit for bit the same however often interrupted."""
