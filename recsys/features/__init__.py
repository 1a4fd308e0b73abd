"""From columns and histories to model inputs; numpy and Arrow only."""
