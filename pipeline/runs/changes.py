"""What differs between two runs: settings, data, code, figures."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from pipeline.runs import settings
from pipeline.runs.folder import Run

_PLACES = ("data", "root")  # data is compared by content, and a root may be moved
_MOST_SHOWN = 3


@dataclasses.dataclass(frozen=True)
class Changes:
    """What a later run has otherwise than an earlier one; each pair is (earlier, later).

    Attributes:
      settings: dotted name -> both values; None where a run has no such setting.
      data: "path", "training" or "verification" -> both paths or digests; what one run doesn't know is left out.
      code: nodes whose code differs.
      figures: "set.figure" -> both values, where they differ; None where a run has none.
    """

    settings: dict[str, tuple[Any, Any]]
    data: dict[str, tuple[str, str]]
    code: list[str]
    figures: dict[str, tuple[float | None, float | None]]

    @classmethod
    def between(cls, earlier: Run, later: Run) -> "Changes":
        """Compares two runs."""
        own = {
            name: both for name, both in _differences(earlier.settings, later.settings).items() if name not in _PLACES
        }
        data, code = (
            {name: both for name, both in _differences(earlier.summary[part], later.summary[part]).items() if all(both)}
            for part in ("data", "code")
        )
        figures = _differences(_figures(earlier), _figures(later))
        return cls(own, data, list(code), figures)

    def causes(self) -> list[str]:
        """What may have made the figures others, a few words each."""
        found = [f"{name}={settings.shown(both[1])}" for name, both in self.settings.items()]
        found += [f"{kind} data" for kind in self.data if kind != "path"]
        return found + ([f"code of {', '.join(self.code)}"] if self.code else [])

    def in_short(self) -> str:
        """The causes in a few words."""
        causes = self.causes()
        more = len(causes) - _MOST_SHOWN
        return ", ".join(causes[:_MOST_SHOWN] + ([f"and {more} more"] if more > 0 else [])) or "nothing"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return dataclasses.asdict(self)


def _differences(earlier: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Name -> both values, of what differs, in the order of the later one."""
    names = dict.fromkeys((*later, *earlier))
    return {name: (earlier.get(name), later.get(name)) for name in names if earlier.get(name) != later.get(name)}


def _figures(run: Run) -> dict[str, float | None]:
    """By "set.figure", the value."""
    sets = run.verification.get("sets", {})
    return {f"{name}.{figure}": value for name, of in sets.items() for figure, value in of.items()}
