"""The pipeline itself: configuration, the pure function that makes it, one runner per platform, the command line."""
