"""What TensorFlow Model Analysis is given: pairs, extractors, metrics."""
