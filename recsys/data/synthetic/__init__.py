"""A simulated world: a log of impressions whose true preferences are known. See `docs/simulated-world.md`."""
