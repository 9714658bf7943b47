"""From the bytes of a picture file to its samples; what a file means is decided here alone."""
