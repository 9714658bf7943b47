"""Finding the wrong places that a descriptor must learn to tell from the right one."""
