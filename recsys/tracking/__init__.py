"""Experiment tracking behind one small protocol."""
