"""Settings of the recall routes, a family a file; torch-free, so that a configuration can be read anywhere."""
