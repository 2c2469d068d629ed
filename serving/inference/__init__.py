"""The network as it is served: batch norm folded into the layers beside it, nothing left of training."""
