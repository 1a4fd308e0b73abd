"""Ensembles of decision trees: what they read, how they are grown, and the graph they are served by."""
