"""A registered version in use: predict, evaluate, serve, monitor, reproduce, transfer."""
