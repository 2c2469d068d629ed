"""Pages from templates: nothing that comes in is taken for HTML, and the templates go with the packages."""

import base64
import tomllib
from pathlib import Path

import jinja2
import pytest

from arcface_common.packages import PACKAGES
from arcface_common.pages import number, percent, render, shortened
from tests.helpers import jpeg

ROOT = Path(__file__).parents[2]


def rendered(folder, body, **values):
    (folder / "one.html").write_text(f'{{% extends "page.html" %}}{{% block body %}}{body}{{% endblock %}}')
    return render(folder, "one.html", title="a <title>", **values)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("\"'><svg onload=1>", "&#34;&#39;&gt;&lt;svg onload=1&gt;"),
        ("{{ 7 * 7 }} {% raw %}", "{{ 7 * 7 }} {% raw %}"),
        ("$a$ & co", "$a$ &amp; co"),
        ("a\nb\r\u2028c", "a b  c"),
        ("\0\x1b\u202e\ud83d", "\N{REPLACEMENT CHARACTER}" * 4),
        (3, "3"),
    ],
)
def test_a_value_is_shown_as_it_is_in_one_line(tmp_path, value, shown):
    page = rendered(tmp_path, '<p id="{{ value }}">{{ value }}</p>', value=value)
    assert f'<p id="{shown}">{shown}</p>' in page
    assert "<title>a &lt;title&gt;</title>" in page


def test_a_page_asks_nothing_of_the_network_and_a_missing_value_is_an_error(tmp_path):
    page = rendered(tmp_path, '<img src="{{ image|data_uri|safe }}">', image=jpeg(1))
    assert f'<img src="data:image/jpeg;base64,{base64.b64encode(jpeg(1)).decode()}">' in page
    assert "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\"" in page
    with pytest.raises(jinja2.UndefinedError, match="'vale' is undefined"):
        rendered(tmp_path, "{{ vale }}", value=1)


def test_numbers_in_words():
    assert [number(x) for x in (None, 0.12345)] == ["–", "0.1235"]
    assert [percent(x) for x in (None, 0.001, 0.0333333, 0.99405, 1)] == ["–", "0.1 %", "3.33 %", "99.41 %", "100.00 %"]
    assert shortened("x" * 100) == "x" * 79 + "…"


def test_every_template_goes_with_its_package():
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["*"]
    folders = [folder for package in PACKAGES for folder in (ROOT / package).glob("**/templates")]
    templates = [path for folder in folders for path in folder.iterdir()]
    assert {path.parent.parent.name for path in templates} == {"arcface_common", "report", "alignment", "server"}
    for path in templates:
        assert any(path.relative_to(path.parent.parent).match(pattern) for pattern in patterns), path
