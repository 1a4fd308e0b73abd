"""Recall routes: each trains, then yields a retriever."""
