"""Readers of the layouts in which known data sets come, each with what it recognises a folder by."""
