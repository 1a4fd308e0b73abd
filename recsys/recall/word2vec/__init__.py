"""Vectors of tokens from the company they keep: skip-gram and CBOW, negative sampling and hierarchical softmax."""
