"""How many bodies the tests draw that no client means: some hundreds, or as many as `make test-malformed` says."""

import os

VARIABLE = "ARCFACE_TFX_MALFORMED_BODIES"


def bodies(usual: int) -> int:
    """Of a test."""
    return int(os.environ.get(VARIABLE, usual))
