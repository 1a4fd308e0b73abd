"""Pure tensor functions: pointwise, pairwise, listwise, contrastive."""
