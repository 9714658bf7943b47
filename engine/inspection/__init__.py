"""What the window asks while it is used: maps, probes, pictures and matches of one pair."""
