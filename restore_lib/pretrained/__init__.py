"""Every trained network: checkpoints with their cards, and the weights that authors published."""
