"""What methods share whose networks paint from 4x4 upward with equalised learning rates, as ProGAN does (Karras et al., ICLR 2018)."""
