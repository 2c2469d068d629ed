"""Numbers of verification sets that are drawn. Nothing is imported: settings and `--help` read them."""

FOLDS = 10
UNIT = 2 * FOLDS  # pairs come in multiples of it
DEFAULT_PAIRS = 6000  # as many as LFW has
MOST_PAIRS = 200_000  # of two images of 2.7 KB they fill the 1 GiB that a set may have
DEFAULT_HARD = 0.25
