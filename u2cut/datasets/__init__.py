"""Data sets on disk: photos and their masks."""
