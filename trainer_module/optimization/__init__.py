"""Optimizers, and what changes from step to step."""
