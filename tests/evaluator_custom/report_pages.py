"""A page as a browser would read it, and scored pairs to write about."""

import html.parser
import re

import numpy as np

from arcface_common.protocol.scored_pairs import ScoredPairs
from evaluator_custom.report.page import write_report
from tests.helpers import jpeg


class Page(html.parser.HTMLParser):
    """Collects what a browser would load, the text, and the cells of each table row."""

    def __init__(self, text):
        super().__init__()
        self.sources, self.ids, self.text, self.open, self.rows, self.alts = [], [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.sources += [value for name, value in attributes if name in ("src", "href")]
        self.ids += [value for name, value in attributes if name == "id"]
        if tag == "img":
            self.alts.append(dict(attributes).get("alt"))
        if tag == "tr":
            self.rows.append([])
        if tag not in ("img", "meta", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1].append(data)


class Images:
    """2N images of which it is known which were read."""

    def __init__(self, pairs):
        self.read, self._length = [], 2 * pairs

    def __len__(self):
        return self._length

    def __getitem__(self, index):
        self.read.append(index)
        return jpeg(index % 30)

    def __iter__(self):
        raise AssertionError("a set of images may be larger than memory")


def some_pairs(name="lfw", pairs=200, seed=0, distances=None, **fields):
    rng = np.random.default_rng(seed)
    same = np.arange(pairs) % 2 == 0
    if distances is None:
        distances = np.clip(np.where(same, rng.normal(1.0, 0.4, pairs), rng.normal(1.9, 0.4, pairs)), 0, 4)
    norms = rng.uniform(5, 25, pairs)
    return ScoredPairs(distances, same, norms, name=name, images=Images(pairs), **fields)


def page_with(tmp_path, *sets, facts=None, **more):
    write_report(tmp_path / "page.html", sets, facts or {"model": "m"}, **more)
    return Page((tmp_path / "page.html").read_text())


def files_below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def captions(page):
    return [int(match[1]) for text in page.text if (match := re.match(r"pair (\d+),", text))]
