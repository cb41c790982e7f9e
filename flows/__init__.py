"""What pitchpipe does: flows, stores, registry, services and the command line."""
