"""Descriptor Space's window: Qt alone, it asks the engine through :mod:`engine.api`."""
