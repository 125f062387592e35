"""Real pictures to a generator's codes, captions to the same codes, and codes that are moved."""
