"""Finding descriptors in maps: exact search, similarity maps, and colours for the eye."""
