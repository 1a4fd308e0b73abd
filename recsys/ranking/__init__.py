"""Rankers: each a module that yields logits `(B, C, T)`."""
