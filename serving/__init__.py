"""The model as it is served: signatures, export, the check before a push, and what TF Serving is told."""
