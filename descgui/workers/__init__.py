"""Threads: jobs that take seconds or minutes, and queries of which only the latest matters."""
