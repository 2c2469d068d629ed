"""What the locks of `requirements/` pin."""

from tests.helpers import ROOT


def pins(lock: str) -> set[tuple[str, str]]:
    """Name and version of each package that a lock installs."""
    lines = (ROOT / "requirements" / lock).read_text().splitlines()
    return {(name, version) for name, sep, version in (line.split(" ")[0].partition("==") for line in lines) if sep}
