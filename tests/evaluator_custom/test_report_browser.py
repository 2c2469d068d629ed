"""The report in a real browser: nothing is asked of the network, every image decodes, nothing runs over the edge."""

import html
import io
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from arcface_common.protocol.scored_pairs import ScoredPairs
from evaluator_custom.report.folder_page import write_folder_report
from evaluator_custom.report.page import write_report
from tests.evaluator_custom.test_folder_page import folder_figures
from tests.helpers import jpeg
from trainer_module.training.curve import Point

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_CHROMIUM = next(filter(None, map(shutil.which, _NAMES)), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(_CHROMIUM is None, reason=f"no browser is installed: none of {', '.join(_NAMES)}"),
]
VERDICT = {
    "blessed": False,
    "conditions": [
        {"text": "lfw.accuracy >= 0.95", "holds": False, "reason": None, "kind": "value", "value": 0.8412},
        {"text": "lfw.tar >= 0.9", "holds": False, "reason": "needs 1,000 pairs", "kind": "value", "value": None},
        {"text": "lfw.accuracy change >= 0", "holds": True, "reason": None, "kind": "change", "value": 0.0},
    ],
    "baseline": {"lfw": {"accuracy": 0.8409}},
}
_WARNING, _CURVE = (0xB3, 0x26, 0x1E), (0x00, 0x72, 0xB2)  # colours of the warning's frame and of the ROC
# What the browser makes of the page, written into it for --dump-dom. A box that scrolls by itself may hold more.
_PROBE = """<script type="application/json" id="probe"></script><script>
addEventListener("load", () => {
  const beyond = width => {
    document.documentElement.style.width = width + "px";
    const scrolls = e => e && getComputedStyle(e).overflowX == "auto";
    return [...document.body.querySelectorAll("*")].filter(e => !scrolls(e.parentElement.closest(".scroll")) &&
      e.getBoundingClientRect().right > width + 1).map(e => e.outerHTML.slice(0, 80));
  };
  const columns = width => {
    document.documentElement.style.width = width + "px";
    const pairs = document.querySelector(".pairs");
    return getComputedStyle(pairs).gridTemplateColumns.split(" ").length;
  };
  document.querySelectorAll("details").forEach(e => { e.open = true });
  document.getElementById("probe").textContent = JSON.stringify({
    images: [...document.images].map(image => image.complete ? image.naturalWidth : 0),
    requests: performance.getEntriesByType("resource").map(entry => entry.name),
    beyond: { 390: beyond(390), 1200: beyond(1200) },
    columns: document.querySelector(".three") ? null : columns(390),
  });
});
</script>"""


def _evaluated(distances, same, attributes):
    images = [jpeg(i) for i in range(24)]
    files = [f"somebody-{i}/0001.jpg / somebody-else-{i}/0002.jpg" for i in range(same.size)]
    images = [images[i % 24] for i in range(2 * same.size)]
    norms = np.full(distances.size, 11.0)
    return ScoredPairs(distances, same, norms, attributes, name="lfw", images=images, files=files)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A report with all that it can hold."""
    rng = np.random.default_rng(0)
    same = np.arange(800) % 2 == 0
    distances = np.clip(np.where(same, rng.normal(1.0, 0.3, 800), rng.normal(1.8, 0.3, 800)), 0, 4)
    attributes = {
        "age": rng.choice(["young", "old", "a long value of an attribute, with / and ' and more"], 800).tolist()
    }
    path = tmp_path_factory.mktemp("report") / "page.html"
    write_report(
        path,
        [_evaluated(distances, same, attributes)],
        {
            "model": "gs://bucket/runs/a-rather-long-name/pipeline/Trainer/model/10",
            "training data": "digest " + "5f" * 32,
        },
        baseline=[_evaluated(np.clip(distances + rng.normal(0, 0.2, 800), 0, 4), same, {})],
        baseline_name="gs://bucket/runs/a-rather-long-name/pipeline/Trainer/model/7",
        warnings=["lfw: 12 of 1,600 images are in the training set"],
        verdict=VERDICT,
        curve=[Point(step, 20 * 0.9**step, 1 - 0.9**step) for step in range(1, 40)] + [Point(40, holdout_top_1=0.7)],
    )
    return path


def _browse(path, tmp_path, *arguments):
    """Output of a browser that reaches no host."""
    command = [
        _CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={tmp_path / 'profile'}",
        *arguments,
        path.as_uri(),
    ]
    return subprocess.run(command, capture_output=True, check=True, timeout=120).stdout.decode()


@pytest.fixture(scope="module")
def folder_page(tmp_path_factory):
    """A report on folders, with all that it can hold."""
    folder = tmp_path_factory.mktemp("folders")
    figures = folder_figures(folder / ("a-rather-long-name-" * 3), noise=2.0)
    write_folder_report(folder / "page.html", figures, {"model": "gs://bucket/runs/a-rather-long-name/model/10"})
    return folder / "page.html"


@pytest.mark.parametrize("which", ["page", "folder_page"])
def test_images_decode_without_network_and_fit(which, tmp_path, request):
    page = request.getfixturevalue(which)
    text = page.read_text()
    assert text.count("<img") > 60
    # Without the policy, which would stop the probe, and with it anything that a mistake asked the network for.
    free = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    assert free != text
    copy = tmp_path / "copy.html"
    copy.write_text(free.replace("</body>", f"{_PROBE}</body>"))
    dumped = _browse(copy, tmp_path, "--dump-dom")
    probe = json.loads(html.unescape(re.search(r'id="probe">(.*?)</script>', dumped, re.DOTALL)[1]))
    assert len(probe["images"]) == text.count("<img")
    assert min(probe["images"]) > 0
    assert all(name.startswith("data:") for name in probe["requests"])
    assert probe["beyond"] == {"390": [], "1200": []}
    assert probe["columns"] == (2 if which == "page" else None)  # of pairs, on a telephone


def test_the_page_as_it_is_shows_warning_and_plots(page, tmp_path):
    picture = tmp_path / "page.png"
    _browse(page, tmp_path, f"--screenshot={picture}", "--window-size=1200,3000")
    pixels = np.asarray(Image.open(io.BytesIO(picture.read_bytes())).convert("RGB"))
    assert pixels.shape == (3000, 1200, 3)
    assert (pixels[0, 0] == 255).all()  # on white
    assert 0.02 < (pixels != 255).any(axis=-1).mean() < 0.9
    assert np.unique(pixels.reshape(-1, 3), axis=0).shape[0] > 1000  # faces, not text alone
    frame, curve = ((np.abs(pixels.astype(int) - colour) <= 2).all(axis=-1) for colour in (_WARNING, _CURVE))
    assert frame[:400].sum() > 4000
    assert curve.sum() > 200  # a plot has been decoded under the page's own policy
