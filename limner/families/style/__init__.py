"""The networks of StyleGAN and StyleGAN2, and how they are regularised."""
