"""Training and online learning of networks."""
