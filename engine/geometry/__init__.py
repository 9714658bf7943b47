"""Coordinates, homographies and visibility."""
