"""The visible list of built-in descriptors: importing a module registers what it holds."""

from engine.descriptors import daisy, msnet, precomputed, superpoint

__all__ = ["daisy", "msnet", "precomputed", "superpoint"]
