"""Histogram of label scores: its numbers by hand, its drawing as a closed file."""

from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ElementTree

import matplotlib
import numpy as np
import pytest

from tamis.reporting.plots import DARK, LIGHT, N_BINS, histogram_uris, score_bins

SCORES = np.array([0.0, 0.01, 0.3, 0.951, 1.0, 1.0])


def svg(uri):
    return base64.b64decode(uri.removeprefix("data:image/svg+xml;base64,")).decode()


def test_bins_by_hand():
    bins = score_bins(SCORES)
    assert len(bins) == N_BINS
    assert bins[0][:3] == (0.0, 0.05, 2)
    assert bins[0].expected_wrong == pytest.approx(1.99)
    assert bins[6][:3] == (0.3, 0.35, 1)
    assert bins[-1].n_rows == 3
    assert bins[-1].expected_wrong == pytest.approx(0.049)


def test_bins_keep_every_row_and_the_expected_total():
    scores = np.random.default_rng(0).random(5_000)
    bins = score_bins(scores)
    assert sum(each.n_rows for each in bins) == 5_000
    assert sum(each.expected_wrong for each in bins) == pytest.approx(float(np.sum(1 - scores)))
    assert [each.n_rows for each in bins] == [each.n_rows for each in score_bins(scores[::-1])]


def test_drawing_is_reproducible_and_leaves_no_global_state():
    before = dict(matplotlib.rcParams)
    first = histogram_uris(score_bins(SCORES), 0.5, calibrated=True)
    assert first == histogram_uris(score_bins(SCORES), 0.5, calibrated=True)
    assert dict(matplotlib.rcParams) == before


def test_drawing_holds_no_script_and_no_foreign_picture():
    text = svg(histogram_uris(score_bins(SCORES), 0.5, calibrated=True)[0])
    tags = {element.tag.split("}")[1] for element in ElementTree.fromstring(text).iter()}
    assert tags <= {
        "svg",
        "metadata",
        "RDF",
        "Work",
        "type",
        "format",
        "defs",
        "style",
        "g",
        "path",
        "use",
        "clipPath",
        "rect",
    }
    assert all(target.startswith("#") for target in re.findall(r'xlink:href="([^"]*)"', text))


def test_dark_drawing_differs_in_colours_only():
    light, dark = (svg(uri) for uri in histogram_uris(score_bins(SCORES), 0.5, calibrated=True))
    assert all(colour in light and colour not in dark for colour in LIGHT)
    assert all(colour in dark and colour not in light for colour in DARK)
    assert len(light) == len(dark)


def test_expected_wrong_is_drawn_only_where_known():
    assert LIGHT.wrong not in svg(histogram_uris(score_bins(SCORES), 0.5, calibrated=False)[0])


@pytest.mark.parametrize("scores", [np.zeros(0), np.ones(3), np.linspace(0, 1, 10_000) ** 0.01])
@pytest.mark.parametrize("threshold", [0.0, 0.02, 0.97, 1.0])
def test_odd_distributions_can_be_drawn(scores, threshold):
    assert all(histogram_uris(score_bins(scores), threshold, calibrated=True))
