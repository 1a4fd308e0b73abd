"""Settings of the rankers, a family a file; torch-free, so that a configuration can be read anywhere."""
