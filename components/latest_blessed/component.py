"""The node that finds the latest blessed model, by the records beside what is served; it is never cached."""

from typing import TypedDict

from tfx.dsl.component.experimental.annotations import Parameter
from tfx.dsl.component.experimental.decorators import component

from components.latest_blessed.records import latest_blessed


class Found(TypedDict):
    """What the node hands on."""

    baseline: str


@component
def LatestBlessed(records: Parameter[str]) -> Found:  # noqa: N802 - a component is named like a class
    """Hands the path of the latest blessed model's record on, as a parameter: "" where there is none.

    A parameter and no artifact, because the same model must be the same key to the evaluator's cache in each run.

    Args:
      records: folder of the records.
    """
    return {"baseline": latest_blessed(records)}
