"""Obj-GAN's networks: boxes from words, shapes from boxes, pictures from shapes, and discriminators that look at single objects."""
