"""Rankers: each a module that yields logits ."""
