"""What the window asks while a person looks: maps, probes, pictures and matches of one pair."""
