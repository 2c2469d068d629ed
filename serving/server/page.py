"""The server's own page: two faces, what their similarity means, and the state of the model."""

import os
import time
from collections import deque
from importlib import resources
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from arcface_common.artifacts import EXTRA, VERIFICATION_FILE
from arcface_common.errors import DataError
from arcface_common.features import FAR_TARGETS
from arcface_common.pages import render
from serving.server.core import Core
from serving.server.journal import Journal, entry
from serving.thresholds import Threshold, read_threshold

PAGE, SCRIPT, DESCRIPTION = "/", "/page.js", "/openapi.json"
_TEMPLATES = resources.files(__package__) / "templates"
_SECONDS = 10.0  # that a rate is over


class Page:
    """The page and what it asks for."""

    def __init__(self, core: Core, journal: Journal) -> None:
        """Keeps them."""
        self._core = core
        self._journal = journal
        self._page = ""
        self._seen: deque[tuple[float, float]] = deque(maxlen=1000)  # time, images so far

    def routes(self) -> list[Route]:
        """For Starlette."""
        return [
            Route(PAGE, self.page),
            Route(SCRIPT, self.script),
            Route(DESCRIPTION, self.description),
            Route("/page.json", self.state),
        ]

    async def page(self, request: Request) -> Response:
        """The page."""
        entry().api = "Page"
        self._page = self._page or render(_TEMPLATES, "server.html", title=self._core.name, model=self._core.name)
        return HTMLResponse(self._page)

    async def script(self, request: Request) -> Response:
        """Its script."""
        entry().api = "Page"
        return Response((_TEMPLATES / "page.js").read_text("utf-8"), media_type="text/javascript")

    async def description(self, request: Request) -> Response:
        """OpenAPI's description of what REST offers."""
        entry().api = "Page"
        return Response((_TEMPLATES / "openapi.json").read_bytes(), media_type="application/json")

    async def state(self, request: Request) -> Response:
        """What it shows of the model."""
        entry().api = "Page"
        metrics, available = self._core.metrics, self._core.manager.available()
        computed = metrics.batch_rows.values.get((self._core.name,))
        images = computed.total if computed else 0.0
        failed = sum(number for (_, status), number in metrics.requests.values.items() if status != "OK")
        return JSONResponse(
            {
                "model": self._core.name,
                "ready": self._core.is_ready(),
                "version": available[0].number if available else None,
                "versions": [
                    {"version": version.number, "state": version.state.name, "error": str(version.error or "")}
                    for version in sorted(self._core.manager.versions.values(), key=lambda version: -version.number)
                ],
                "thresholds": _thresholds(available[0].servable) if available else [],
                "images": int(images),
                "rate": self._rate(images),
                "failed": int(failed),
                "open": self._journal.open - 1,  # without this one
            }
        )

    def _rate(self, images: float) -> float:
        """Images a second between what was seen some seconds ago and now."""
        now = time.monotonic()
        self._seen.append((now, images))
        while now - self._seen[0][0] > _SECONDS:
            self._seen.popleft()
        since, before = self._seen[0]
        return (images - before) / (now - since) if now > since else 0.0


def _thresholds(servable: Any) -> list[dict[str, Any]]:
    """What the version's evaluation chose, by accuracy and by false accept rates."""
    file = os.path.join(servable.path, EXTRA, VERIFICATION_FILE)
    found = []
    for far in (None, *FAR_TARGETS):
        try:
            threshold = read_threshold(file, None, far)
        except (DataError, OSError):
            continue
        name = "highest accuracy" if far is None else f"FAR {far:g}"
        found.append(
            {"text": f"{name}: {threshold.cosine:.4f}", "cosine": threshold.cosine, "meaning": _meaning(threshold)}
        )
    return found


def _meaning(threshold: Threshold) -> str:
    if threshold.far is None:
        return (
            f"Above it, the model calls two faces one person. It decides most of the {threshold.pairs:,} pairs of "
            f"{threshold.set} rightly. It is no proof of identity."
        )
    return (
        f"Of the {threshold.pairs:,} pairs of different people in {threshold.set}, {threshold.false_accepts:,} "
        "lie above it. Other people's pictures may do otherwise; it is no proof of identity."
    )
