"""The node that finds the model which the next one is compared with."""
