"""Bouquets: pictures of two to four flowers."""
