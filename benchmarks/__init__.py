"""What the README claims about speed and quality."""
