"""Measuring descriptors on pairs whose truth is known."""
