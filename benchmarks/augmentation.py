"""What each augmentation costs the training input on one core, where every image is augmented, and at AdaFace's 0.2.

Run it from the repository's root: `python -m benchmarks.augmentation`. It prints what it writes to
`benchmarks/results/augmentation.csv`. Shards, binding and rates are those of `benchmarks.training_input`: CPU time of
the whole process, in turns; each figure is the median of all turns.
"""

import os
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks import table
from benchmarks.ingest import faces
from benchmarks.training_input import BATCH, JPEGS, rates, side, write_data

MODULE = "benchmarks.augmentation"
ADAFACE = {"crop": 0.2, "low_resolution": 0.2, "photometric": 0.2}


def measure() -> list[tuple[str, str, str]]:
    """Figure, value and unit of each row."""
    from trainer_module.augmentation_facts import AUGMENTATIONS
    from trainer_module.data.input_pipeline import training_batches
    from trainer_module.data.split import Split
    from trainer_module.settings import TrainSettings

    chosen = {"none": {}, **{name: {name: 1.0} for name in AUGMENTATIONS}, "AdaFace's, 0.2 each": ADAFACE}
    with tempfile.TemporaryDirectory() as temporary:
        split = Split(*write_data(Path(temporary), faces(JPEGS)))
        settings = {name: TrainSettings(batch_size=BATCH, augment=augment) for name, augment in chosen.items()}
        sides = {name: side(training_batches(split, one)) for name, one in settings.items()}
        medians = {name: statistics.median(values) for name, values in rates(sides).items()}
    rows = [(name, f"{rate:.0f}", "images per CPU second") for name, rate in medians.items()]
    microseconds = {name: 1e6 / rate - 1e6 / medians["none"] for name, rate in medians.items() if name != "none"}
    return rows + [(f"{name}, more", f"{value:.0f}", "us an image") for name, value in microseconds.items()]


if __name__ == "__main__":
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    table.write("augmentation", f"python -m {MODULE}", measure())
    # All is written; TensorFlow's iterators crash the interpreter's last garbage collection (a segmentation fault).
    sys.stdout.flush()
    os._exit(0)
