"""The embedded server: one core that loads, batches and computes, and thin transports around it."""
