"""Ranking and classification metrics over arrays, per query and unaggregated."""
