"""Matching models, one file per paper. A model's name is its file's, with dashes for underscores."""
