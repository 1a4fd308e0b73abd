"""Retrievers, the FAISS index behind them, and fusion."""
