"""Measurements: one file per group of figures, each with ``measure(runs) -> list[Figure]``."""
