"""From files nobody has described yet to a commented configuration that runs."""
