"""All splits of an Examples artifact as one source, so that Beam needn't hold them."""

from tfx import types

ALL_SPLITS = "*"


def as_one_split(examples: types.Artifact) -> types.Artifact:
    """The same Examples with all their splits as one, whose files are found by a glob, `Split-*/*`.

    TFX's Evaluator reads each split by a source of its own and flattens the sources. Beam's FnApiRunner keeps what
    goes into a Flatten of several, image bytes and all, until everything is read: the peak rose by 307 MB from 1,000
    to 4,000 pairs. Of one source there is nothing to flatten: it rises by 31 MB (see `benchmarks/embedding.py`).

    Args:
      examples: an Examples artifact; each example says itself which split it is of.

    Returns:
      A copy whose only split is `ALL_SPLITS`. It is for reading alone: TFX would not take the name for writing.
    """
    merged = type(examples)()
    merged.copy_from(examples)
    merged.split_names = f'["{ALL_SPLITS}"]'
    return merged
