"""Self-contained HTML pages about a model, for people; matplotlib is imported when one is written."""

from evaluator_custom.report.evaluated_set import EvaluatedSet
from evaluator_custom.report.page import write_report

__all__ = ["EvaluatedSet", "write_report"]
