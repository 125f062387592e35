"""Losses of matching models."""
