"""What more images, or a larger network, would bring: learning curves and capacity curves."""
