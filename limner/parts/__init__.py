"""What is trained before or after a method: its text encoder, its style encoder, the garden's judge. One file each, found by its name."""
