"""Scorers: what rankers are served by."""
