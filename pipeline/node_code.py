"""Which modules each node of ours runs, and the digest of their code, as the node asks for it itself."""

from arcface_common.source_digest import source_digest

_SCHEMA = ("components.curated_schema",)
_BUILD_BACKBONES = ("Trainer", "Exporter")
NODE_MODULES = {
    "RecordExampleGen": ("components.record_example_gen.executor",),
    "PairExampleGen": ("components.pair_example_gen.executor",),
    "ExampleSchema": _SCHEMA,
    "StatisticsSchema": _SCHEMA,
    "PairSchema": _SCHEMA,
    "ExampleValidator": ("components.anomaly_gate",),
    "Transform": ("trainer_module.preprocessing",),
    "Trainer": ("components.trainer.executor", "trainer_module.workers.worker"),
    "Exporter": ("serving.exporter.executor",),
    "VerificationEvaluator": ("evaluator_custom.component", "evaluator_custom.tfma_bridge.embed_pairs"),
    "Pusher": ("serving.pusher",),
}


def node_code(node: str, backbone: str = "") -> str:
    """Digest of a node's code.

    Args:
      node: a name in `NODE_MODULES`.
      backbone: `train.backbone`, for the nodes that build it: the module of an own one counts.

    Raises:
      DataError: a module of an own backbone is no Python.
    """
    return source_digest(*NODE_MODULES[node], backbone=backbone if node in _BUILD_BACKBONES else "")
