"""What takes the scores: sources of pictures, networks that look at them, the pass over a split, protocols, tables."""
