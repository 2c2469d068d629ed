"""Custom TFX components and the data formats they read. A component is `component.py` (spec) + `executor.py` (work)."""
