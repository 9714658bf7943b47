"""Where pairs of images come from."""
