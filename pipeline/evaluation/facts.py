"""What a report says about where its figures come from."""

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING

from arcface_common.source_digest import source_digest

if TYPE_CHECKING:  # it imports TensorFlow, which nothing here needs
    from evaluator_custom.networks.embedder import Embedder


def model_facts(embedder: "Embedder", model: str, data: Mapping[str, str], evaluation: str) -> dict[str, str]:
    """Facts by a short name each: model, date, and what was asked of the data.

    Args:
      embedder: the loaded model.
      model: its path.
      data: what else there is to say, about data and settings.
      evaluation: the module that made the figures.
    """
    return {
        "model": model,
        "date": datetime.date.today().isoformat(),
        **embedder.facts(),
        **data,
        "code of the evaluation": source_digest(evaluation),
    }
