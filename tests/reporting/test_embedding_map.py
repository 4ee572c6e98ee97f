"""The map of the features: which points are drawn where, and what is said of them."""

from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ElementTree
from importlib import resources

import numpy as np
import pyarrow as pa
import pytest

from tamis.errors import InputError
from tamis.reporting.embedding_map import DARK_CLASSES, LIGHT_CLASSES, map_section
from tamis.reporting.plots import DARK, LIGHT


def table(rows, places, variance="0.25"):
    x, y = np.asarray(places, dtype=np.float32).T
    columns = {"row": np.asarray(rows, dtype=np.int64), "x": x, "y": y}
    return pa.table(columns).replace_schema_metadata({"variance": variance})


def svg(uri):
    return base64.b64decode(uri.removeprefix("data:image/svg+xml;base64,")).decode()


def section(each, places, rows=None):
    rows = np.arange(len(places)) if rows is None else rows
    return map_section(table(rows, places), each.issues, each.summary)


def dots(drawing, colour):
    paths = re.findall(rf'<path d="([^"]*)" stroke="{colour}"', drawing)
    return [(float(x), float(y)) for path in paths for x, y in re.findall(r"M([\d.]+) ([\d.]+)", path)]


PLACES = np.random.default_rng(0).normal(size=(40, 2)) * (3, 1)


def test_points_by_hand(case):
    found = section(case(n=4, names=("a", "b"), flagged=1), [(-1, 0), (1, 0), (0, 0.5), (0, -0.5)])
    drawing = svg(found.light)
    # The y axis points upwards, one unit is as long on both axes, and the middle is the middle.
    (b,), (flagged,) = dots(drawing, LIGHT_CLASSES[0]), dots(drawing, LIGHT.wrong)
    right, below = dots(drawing, LIGHT_CLASSES[1])
    middle = np.array([found.width, found.height]) / 2
    assert np.allclose(np.array(flagged) + 3 + right, 2 * middle, atol=0.2)
    assert np.allclose(np.array(b) + below, 2 * middle, atol=0.2)
    assert below[1] > b[1]
    assert np.isclose(right[0] - flagged[0] - 3, 2 * (below[1] - b[1]), atol=0.4)


def test_every_sample_is_drawn_once_with_its_colour(case):
    each = case(names=tuple("abc"), flagged=6)
    found = section(each, PLACES)
    for uri, palette, classes in (
        (found.light, LIGHT, LIGHT_CLASSES),
        (found.dark, DARK, DARK_CLASSES),
    ):
        drawing = svg(uri)
        assert len(dots(drawing, palette.wrong)) == 6
        given = each.issues["given_label"].to_pylist()[6:]
        for name, colour in zip("abc", classes, strict=False):
            assert len(dots(drawing, colour)) == given.count(name)
        inside = np.array([*dots(drawing, palette.wrong), *dots(drawing, classes[0])])
        assert (inside > 0).all()
        assert (inside < (found.width, found.height)).all()


def test_many_classes_and_rows_without_label_are_grey(case):
    grey = section(case(names=tuple("abcdefghijk"), flagged=5), PLACES)
    assert len(dots(svg(grey.light), LIGHT.rows)) == 35
    assert grey.classes == ()
    given = [None] * 10 + ["cat", "dog", "bird"] * 10
    assert len(dots(svg(section(case(given_label=given, flagged=0), PLACES).light), LIGHT.rows)) == 10


def test_what_is_said(case, report):
    each = case(n=40, flagged=6)
    page = report(each, embedding_map=table(np.arange(40), PLACES))
    assert "All 40 samples. Places are the first two principal components" in page.text
    assert "hold 25 % of their variance" in page.text
    assert "Distances on a map mean little" in page.text
    (picture,) = [image for image in page.having("img") if image["alt"].startswith("Map")]
    assert picture["alt"] == (
        "Map of 40 samples in two dimensions; 6 of them, drawn as crosses, carry a flagged label."
    )
    assert page.having("a", href="#map")
    some = map_section(table(np.arange(3, 30), PLACES[3:30]), each.issues, each.summary)
    assert some.caption.startswith(
        "27 of 40 samples: 3 of 6 flagged labels, and an even share of the others."
    )
    none = case(n=40, flagged=0)
    assert section(none, PLACES[:9]).caption.startswith("9 of 40 samples: an even share.")


def test_no_map_no_section(case, report):
    assert 'id="map"' not in report(case()).html
    assert 'href="#map"' not in report(case(), embedding_map=table([], np.zeros((0, 2)))).html


def test_names_are_escaped_and_stay_out_of_the_drawing(case, report):
    page = report(case(names=("<script>", "$x$")), embedding_map=table(np.arange(40), PLACES))
    assert "&lt;script&gt;" in page.html
    assert "<script>" not in page.html
    found = section(case(names=("<script>", "$x$")), PLACES)
    tags = {element.tag.split("}")[1] for element in ElementTree.fromstring(svg(found.light)).iter()}
    assert tags == {"svg", "rect", "path"}
    assert "script" not in svg(found.light)


@pytest.mark.parametrize("places", [np.zeros((40, 2)), PLACES * (1, 0), PLACES * (0, 1), PLACES * 1e30])
def test_degenerate_places_are_drawn(case, places):
    found = section(case(), places)
    assert "nan" not in svg(found.light)
    assert 300 <= found.height <= 620


def test_a_far_sample_does_not_squeeze_the_others(case):
    n = 400
    places = np.random.default_rng(1).normal(size=(n, 2))
    places[0] = 1e6
    x = np.array(dots(svg(section(case(n=n, flagged=0), places).light), LIGHT_CLASSES[1]))[:, 0]
    assert np.ptp(x) > 200


def test_colours_are_those_of_the_style_sheet():
    css = resources.files("tamis.reporting").joinpath("templates", "report.css").read_text(encoding="utf-8")
    for place, colours in enumerate(zip(LIGHT_CLASSES, DARK_CLASSES, strict=True)):
        assert re.findall(rf"--k{place}: (#\w+);", css) == list(colours)
    assert {LIGHT.wrong, LIGHT.rows}.isdisjoint(LIGHT_CLASSES)


def test_refusals(case):
    each = case()
    with pytest.raises(InputError, match=r"lacks the columns \['y'\]"):
        map_section(pa.table({"row": [0], "x": [0.0]}), each.issues, each.summary)
    with pytest.raises(InputError, match="rows 0 to 40 of 40"):
        section(each, np.zeros((41, 2)))
