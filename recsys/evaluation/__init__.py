"""What is reported, computed from the bundle."""
