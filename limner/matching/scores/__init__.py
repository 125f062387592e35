"""Scores of matching models."""
