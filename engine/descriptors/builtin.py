"""The visible list of built-in descriptors: importing a module registers what it holds."""
