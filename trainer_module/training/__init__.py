"""Training: the state, a step, the loop and its hooks, checkpoints and the curve."""
