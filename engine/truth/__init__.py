"""Ground truth of a pair of images: one type, and a module for each kind of knowledge."""
