"""The picture sides of matching models."""
