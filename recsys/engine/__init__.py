"""Maps work over partitions."""
