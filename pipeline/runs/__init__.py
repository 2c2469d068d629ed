"""What is kept of each run: `runs/<run>/` below the root, its log, and the commands that read them."""
