"""HTTP service over a bundle."""
