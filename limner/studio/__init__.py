"""The studio: a web page on which trained models are used, and a training is watched. `limner studio` starts it."""
