"""The report: self-contained, complete, and about the right pairs."""

import html.parser
import io

import numpy as np
import pytest
from PIL import Image

from evaluator_custom import protocol
from evaluator_custom.report import EvaluatedSet, write_report
from tests.helpers import jpeg


class _Page(html.parser.HTMLParser):
    """Collects what a browser would load, and the text."""

    def __init__(self, text):
        super().__init__()
        self.sources, self.text, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.sources += [value for name, value in attributes if name in ("src", "href")]
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def evaluated():
    rng = np.random.default_rng(0)
    same = np.arange(200) % 2 == 0
    distances = np.clip(np.where(same, rng.normal(1.0, 0.4, 200), rng.normal(1.9, 0.4, 200)), 0, 4)
    result = protocol.evaluate(distances, same, rng.uniform(5, 25, 200))
    return EvaluatedSet("lfw", result, distances, same, [jpeg(i % 30) for i in range(400)])


def test_page_needs_no_network_and_is_well_formed(evaluated, tmp_path):
    write_report(tmp_path / "page.html", [evaluated], {"model": "a <b> & c", "data": "faces"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page-lfw.png", "page.html"]
    text = (tmp_path / "page.html").read_text()
    page = _Page(text)
    assert page.open == []
    assert page.sources
    assert all(source.startswith("data:image/") for source in page.sources)
    assert "a <b> & c" in page.text  # escaped, and read back
    assert f"{evaluated.result.accuracy:.4f} ± {evaluated.result.accuracy_std:.4f}" in page.text
    with Image.open(tmp_path / "page-lfw.png") as plot:
        assert plot.size[0] > 1000


def test_worst_pairs_are_the_wrong_ones_in_order(evaluated, tmp_path):
    write_report(tmp_path / "page.html", [evaluated], {"model": "m"})
    captions = [t for t in _Page((tmp_path / "page.html").read_text()).text if t.startswith("pair ")]
    indices = [int(caption.split()[1].rstrip(",")) for caption in captions]
    wrong = set(np.flatnonzero(~evaluated.result.correct).tolist())
    accepts = [i for i in indices if not evaluated.is_same[i]]
    rejects = [i for i in indices if evaluated.is_same[i]]
    assert set(indices) <= wrong
    assert len(accepts) == min(20, sum(not evaluated.is_same[i] for i in wrong))
    assert [evaluated.distances[i] for i in accepts] == sorted(evaluated.distances[i] for i in accepts)
    assert [-evaluated.distances[i] for i in rejects] == sorted(-evaluated.distances[i] for i in rejects)


def test_rates_that_the_set_cannot_tell_are_dashes(evaluated, tmp_path):
    write_report(tmp_path / "page.html", [evaluated], {"model": "m"})
    text = (tmp_path / "page.html").read_text()
    assert "<td>1e-06</td><td>–</td><td>–</td><td>–</td>" in text
    assert "<td>0.01</td><td>–</td>" not in text


def test_png_images_are_shown_as_such(evaluated, tmp_path):
    buffer = io.BytesIO()
    Image.new("RGB", (112, 112)).save(buffer, "PNG")
    pngs = EvaluatedSet("lfw", evaluated.result, evaluated.distances, evaluated.is_same, [buffer.getvalue()] * 400)
    write_report(tmp_path / "page.html", [pngs], {"model": "m"})
    assert not [s for s in _Page((tmp_path / "page.html").read_text()).sources if s.startswith("data:image/jpeg")]
