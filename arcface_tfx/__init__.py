"""Face recognition models in Python: load, embed, verify, search, evaluate, train.

    import arcface_tfx

    model = arcface_tfx.load("build/demo/serving/arcface")
    found = model.embed(["anna.jpg", "ben.jpg"])            # or bytes, or uint8 [112, 112, 3] in RGB
    model.verify("anna.jpg", "ben.jpg", far=1e-2).same      # at the threshold that its evaluation found
    arcface_tfx.search(gallery=found.embeddings, probes=found.embeddings[:1], names=["anna", "ben"], top=1)

Importing this costs nothing, a model loads in two seconds: what it needs is imported by the call. What is wrong with an
argument or a file is a `DataError`, which names it.
"""

from typing import TYPE_CHECKING, Any

import arcface_tfx.own_packages  # noqa: F401  (first: it says which file hides a package of ours)
from arcface_common.errors import DataError
from arcface_tfx.evaluation import evaluate
from arcface_tfx.models import load
from arcface_tfx.runs import configure, dry_run, run
from arcface_tfx.tensorflow_import import set_environment

if TYPE_CHECKING:
    from arcface_common.protocol.verification_result import VerificationResult
    from pipeline.config import PipelineConfig
    from pipeline.forecast import Forecast
    from pipeline.summary import RunSummary
    from serving.answers import Embeddings, Verdict
    from serving.client import RemoteModel
    from serving.local import LocalModel
    from serving.search import Matches, search
    from serving.thresholds import Threshold

__all__ = [
    "DataError",
    "Embeddings",
    "Forecast",
    "LocalModel",
    "Matches",
    "PipelineConfig",
    "RemoteModel",
    "RunSummary",
    "Threshold",
    "Verdict",
    "VerificationResult",
    "configure",
    "dry_run",
    "evaluate",
    "load",
    "run",
    "search",
]

_LIVES_IN = {
    "Embeddings": "serving.answers",
    "Forecast": "pipeline.forecast",
    "LocalModel": "serving.local",
    "Matches": "serving.search",
    "PipelineConfig": "pipeline.config",
    "RemoteModel": "serving.client",
    "RunSummary": "pipeline.summary",
    "Threshold": "serving.thresholds",
    "Verdict": "serving.answers",
    "VerificationResult": "arcface_common.protocol.verification_result",
    "search": "serving.search",
}


def __getattr__(name: str) -> Any:
    """What lives in a package that is costly to import, once it is asked for; `__version__`, too."""
    import importlib

    if name == "__version__":
        import importlib.metadata

        return importlib.metadata.version("arcface-tfx")
    if name not in _LIVES_IN:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if _LIVES_IN[name] == "serving.local":
        set_environment()
    return getattr(importlib.import_module(_LIVES_IN[name]), name)


def __dir__() -> list[str]:
    return __all__
