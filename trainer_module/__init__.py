"""What the Transform and Trainer nodes run, and the base modules every package reads: features, console, errors."""
