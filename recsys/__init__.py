"""From an interaction log to served top-K recommendations."""
