"""Face verification: TFMA metrics over the protocol, networks, reports, and the evaluator that blesses a model."""
