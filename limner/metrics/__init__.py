"""Scores, one file per family of metrics; `limner.metrics.scoring` is the machinery that takes them."""
