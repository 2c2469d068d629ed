"""Face verification: the protocol in numpy, TFMA metrics over it, and the evaluator that blesses a model by it."""
