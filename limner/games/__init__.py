"""Games that several methods play: what a family of papers shares, so that each method's file holds what its own paper adds."""
