"""The node that trains: Examples and Transform's graph to a checkpoint."""
