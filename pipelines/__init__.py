"""One file a stage: load, call recsys, save."""
