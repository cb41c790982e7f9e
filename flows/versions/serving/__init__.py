"""The server of `pitchpipe serve`: bodies to images, batches to the network, alias to version."""
