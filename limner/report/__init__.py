"""What a run looks like: curves and the report page."""
