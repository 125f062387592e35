"""AttnGAN and the methods after it: the generator, attention to words, losses, and the training step."""
