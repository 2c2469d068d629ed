"""What is computed of distances and embeddings: numpy, SciPy and scikit-learn alone."""
