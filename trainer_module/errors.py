"""The error for input that is not what its format says."""


class DataError(ValueError):
    """Bad input: names the file, what was expected, and what was received. The command line answers it with exit 2."""
