"""Two-tower routes: a query tower over features and history, an item tower, and how they learn from each other."""
