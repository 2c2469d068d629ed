"""Self-contained HTML pages about a model, for people; matplotlib is imported when one is written."""

from evaluator_custom.report.page import write_report

__all__ = ["write_report"]
