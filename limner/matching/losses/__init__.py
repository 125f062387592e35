"""Losses that matching models are trained by."""
