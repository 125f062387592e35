"""Pictures as grids of codes, and transformers that write them: what DALL-E and its ports share."""
