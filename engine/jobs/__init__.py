"""Work that takes a while, one job each, started by the window or by the command line."""
