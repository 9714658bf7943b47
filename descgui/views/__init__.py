"""Widgets: they draw a model and emit what the person wants; they start nothing."""
