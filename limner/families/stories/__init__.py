"""What systems share that paint whole stories, a picture for each sentence."""
