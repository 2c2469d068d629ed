"""Times to wait, in words."""


def in_hours(seconds: float) -> str:
    """A time to wait, in two units: "2 d 3 h", "3 h 20 min", "45 s"."""
    for unit, size, smaller, part in (("d", 86_400, "h", 3_600), ("h", 3_600, "min", 60), ("min", 60, "s", 1)):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit} {seconds % size // part:.0f} {smaller}"
    return f"{seconds:.0f} s"
