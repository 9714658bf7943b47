"""Controllers join models, views and workers."""
