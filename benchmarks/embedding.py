"""What the evaluation's Beam step costs beside the bare network, and whether its memory grows with the pairs.

Run it from the repository's root: `python -m benchmarks.embedding`. Every measurement is a process of its own.

Counted are distinct JPEG images of 7 KB each. "In the step" is the whole VerificationEvaluator on the FnApiRunner
between its first and its last batch: reading Examples, filling batches, decoding, the network on image and mirror,
distances, everything up to TFMA's combiners. What it does before (building the graph, loading the model, the first
batch) and after (protocol, report, verdict) is a row of its own. "Bare" is the same signature called on the same JPEG
bytes: once right after every batch of the step, and taken out of the step's time, so that both meet the same load of
the machine.
"""

import io
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import memory, table

MODULE = "benchmarks.embedding"
PAIRS = 640  # where speed is measured
MEMORY_PAIRS = (2000, 9000, 18_000)  # the embeddings of 16,384 images are remembered: at 9,000 pairs all is full
TURNS = 3
BACKBONE = "mobilefacenet"  # the cheapest network that is in use: what Beam adds shows most beside it
SETS = ("lfw", "cfp_fp")


def jpegs(count: int) -> list[bytes]:
    """Images as large as a photograph's: a smooth field and noise, about 7 KB."""
    images = []
    for seed in range(count):
        random = np.random.default_rng(seed)
        field = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize((112, 112))
        noisy = np.clip(np.asarray(field) + random.normal(0, 14, (112, 112, 3)), 0, 255).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(noisy).save(buffer, "JPEG", quality=90)
        images.append(buffer.getvalue())
    return images


def write_model(folder: Path, backbone: str) -> None:
    """Exports a backbone with random weights as a pipeline's Trainer does."""
    from arcface_common.features import PixelFormat
    from arcface_common.model_metadata import ModelMetadata
    from serving import export
    from trainer_module import backbones

    metadata = ModelMetadata(backbone, {}, 512, PixelFormat(), 2, {})
    path = str(folder / backbone / "Format-Serving")
    export.export_saved_model(backbones.build(backbone, embedding_dim=512), path, metadata)


def write_examples(folder: Path, pairs: int) -> None:
    """Pair Examples of `SETS`, half of the pairs each, as PairExampleGen writes them."""
    from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
    from tfx.types import standard_artifacts

    from components.formats import verification_bin
    from components.pair_example_gen.component import PairExampleGen
    from components.pair_example_gen.executor import PairExampleGenExecutor

    images = jpegs(2 * pairs)
    out = folder / f"examples-{pairs}"
    (out / "bin").mkdir(parents=True)
    for number, name in enumerate(SETS):
        part = images[number * pairs : (number + 1) * pairs]
        verification_bin.write(str(out / "bin" / f"{name}.bin"), part, [i % 2 == 0 for i in range(pairs // 2)])
    examples = standard_artifacts.Examples()
    examples.uri, examples.id = str(out), 1
    context = BaseBeamExecutor.Context(beam_pipeline_args=["--runner=FnApiRunner"], tmp_dir=str(out / "tmp"))
    data = str(out / "bin")
    properties = {
        "input_base": data,
        "input_config": PairExampleGen(data, SETS).exec_properties["input_config"],
        "options": json.dumps({"sets": list(SETS)}),
    }
    PairExampleGenExecutor(context).Do({}, {"examples": [examples]}, properties)


def run_step(folder: Path, backbone: str, pairs: int) -> float:
    """Seconds of one evaluation."""
    from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
    from tfx.types import artifact_utils, standard_artifacts
    from tfx.utils import io_utils

    from evaluator_custom.executor import VerificationEvaluatorExecutor
    from pipeline.create import schema_text

    io_utils.write_string_file(str(folder / "schema" / "schema.pbtxt"), schema_text("pairs"))
    with tempfile.TemporaryDirectory(dir=folder) as out:
        artifacts = {}
        for name, kind, uri in (
            ("examples", standard_artifacts.Examples, folder / f"examples-{pairs}"),
            ("model", standard_artifacts.Model, folder / backbone),
            ("schema", standard_artifacts.Schema, folder / "schema"),
            ("evaluation", standard_artifacts.ModelEvaluation, Path(out) / "evaluation"),
            ("blessing", standard_artifacts.ModelBlessing, Path(out) / "blessing"),
        ):
            artifacts[name] = [kind()]
            artifacts[name][0].uri, artifacts[name][0].id = str(uri), 1
            Path(uri).mkdir(exist_ok=True)
        artifacts["examples"][0].split_names = artifact_utils.encode_split_names(list(SETS))
        properties = {
            "baseline": "",
            "conditions": "lfw.accuracy >= 0.9",
            "folds": "contiguous",
            "start": "",
            "start_digest": "",
            "example_splits": json.dumps(list(SETS)),
            "module_path": "evaluator_custom.tfma_bridge.embed_pairs",
            "fairness_indicator_thresholds": "null",
        }
        inputs = {name: artifacts[name] for name in ("examples", "model", "schema")}
        outputs = {name: artifacts[name] for name in ("evaluation", "blessing")}
        context = BaseBeamExecutor.Context(beam_pipeline_args=["--runner=FnApiRunner"], tmp_dir=out)
        begin = time.perf_counter()
        VerificationEvaluatorExecutor(context).Do(inputs, outputs, properties)
        return time.perf_counter() - begin


def compare(folder: Path, backbone: str, pairs: int) -> list[float]:
    """Seconds and CPU seconds for each image, bare and in the step, and the seconds that the step takes beside."""
    import tensorflow as tf

    from evaluator_custom.networks.embedder import PairEmbedder
    from serving.signatures import VERIFICATION

    bare_call = tf.saved_model.load(str(folder / backbone / "Format-Serving")).signatures[VERIFICATION]
    embed_batch = PairEmbedder.embed_batch
    ends, bare, images_of = [], [], []

    def now() -> np.ndarray:
        return np.array([time.perf_counter(), time.process_time()])

    def embed_twice(self: PairEmbedder, images: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
        answer = embed_batch(self, images)
        begin = now()
        for value in bare_call(tf.constant(images)).values():
            value.numpy()
        ends.append(now())
        bare.append(ends[-1] - begin)
        images_of.append(len(images))
        return answer

    PairEmbedder.embed_batch = embed_twice  # type: ignore[method-assign]
    whole = run_step(folder, backbone, pairs)
    count = sum(images_of[1:])
    bare_time = np.sum(bare[1:], axis=0)
    both_time = ends[-1] - ends[0]
    beside = whole - both_time[0] - bare[0][0]
    return [*(bare_time / count).tolist(), *((both_time - bare_time) / count).tolist(), float(beside)]


def child(what: str, *arguments: object) -> np.ndarray:
    """Runs one of this module's functions in a process of its own: what it returns, and that process's peak in MB."""
    command = [sys.executable, "-m", MODULE, what, *map(str, arguments)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise RuntimeError(f"Expected {' '.join(command)} to succeed. Received: {answer.stderr[-2000:]}")
    return np.array(json.loads(answer.stdout.splitlines()[-1]), float)


def measure() -> Iterator[tuple[str, str, str]]:
    """Figure, value and unit of each row."""
    with tempfile.TemporaryDirectory() as folder:
        for backbone in (BACKBONE, "iresnet_tiny"):
            child("model", folder, backbone)
        for pairs in (PAIRS, *MEMORY_PAIRS):
            child("examples", folder, pairs)
        turns = [child("compare", folder, BACKBONE, PAIRS) for _ in range(TURNS)]
        bare, bare_cpu, in_step, in_step_cpu, beside, _ = np.median(turns, axis=0)
        yield f"{BACKBONE}, bare, JPEG to embedding and mirror's", f"{1 / bare:.1f}", "images/s"
        yield f"{BACKBONE}, in the evaluation's Beam step", f"{1 / in_step:.1f}", "images/s"
        yield f"{BACKBONE}, in the step / bare", f"{bare / in_step:.3f}", "ratio"
        yield f"{BACKBONE}, in the step / bare, images by CPU second", f"{bare_cpu / in_step_cpu:.3f}", "ratio"
        yield f"{BACKBONE}, before the first and after the last batch of {PAIRS} pairs", f"{beside:.1f}", "s"
        for pairs in MEMORY_PAIRS:
            peak = child("step", folder, "iresnet_tiny", pairs)[-1]
            yield f"iresnet_tiny, peak memory of the step, {pairs} pairs of distinct images", f"{peak:.0f}", "MB"


_CHILDREN: dict[str, Callable[..., Any]] = {
    "examples": write_examples,
    "model": write_model,
    "step": run_step,
    "compare": compare,
}


if __name__ == "__main__":
    if len(sys.argv) > 1:
        name, where, *rest = sys.argv[1:]
        taken = _CHILDREN[name](Path(where), *(int(value) if value.isdigit() else value for value in rest))
        peak_mb = memory.peak() / 2**20
        print(json.dumps([*(taken if isinstance(taken, list) else [taken or 0]), peak_mb]))
    else:
        table.write("embedding", f"python -m {MODULE}", measure())
