"""Every golden file is answered for, and every case of a mapped one passes at its tolerance."""

from __future__ import annotations

import fnmatch
import importlib
import json
import os
from collections.abc import Mapping

import numpy as np
import pytest
from golden_case import as_array
from golden_map import GOLDEN, PENDING

pytestmark = pytest.mark.shared


def compare(case, outputs, informative=()):
    """Check every expected output: atol = max(1e-9, rtol * max|expected|), unless rtol asks for equality."""
    for name, expected in case["expected"].items():
        # Quirks of the authors' code, and how the case was made, are informative only.
        if name.startswith("official_") or name in informative:
            continue
        assert name in outputs, f"{case['case']}: the runner gives no {name}"
        if isinstance(expected, Mapping):
            compare({**case, "case": f"{case['case']} {name}", "expected": expected}, outputs[name])
            continue
        if isinstance(expected, list) and expected and isinstance(expected[0], Mapping):
            assert len(outputs[name]) == len(expected)
            for number, (part, found) in enumerate(zip(expected, outputs[name], strict=True)):
                compare({**case, "case": f"{case['case']} {name} {number}", "expected": part}, found)
            continue
        wanted, got = as_array(expected), as_array(outputs[name])
        assert got.shape == wanted.shape, f"{case['case']}: {name} has shape {got.shape}, not {wanted.shape}"
        # A missing value (null) must be missing too.
        largest = float(np.nan_to_num(np.abs(wanted)).max()) if wanted.size else 0.0
        tolerance = max(1e-9, float(case["rtol"]) * largest)
        np.testing.assert_allclose(
            got, wanted, rtol=0, atol=tolerance, err_msg=f"{case['case']}: {name}", strict=False
        )


def _waits(entry, case):
    return any(fnmatch.fnmatchcase(case["case"], pattern) for pattern in entry.pending)


def test_every_file_is_mapped_or_pending(golden):
    stray = {path.stem for path in golden.glob("*.json")} - set(GOLDEN) - set(PENDING)
    assert not stray, f"map these golden files to functions or list them as pending: {sorted(stray)}"


def test_no_file_is_mapped_and_pending():
    assert not set(GOLDEN) & set(PENDING)


def test_no_entry_names_a_missing_file(golden):
    if "TAMIS_GOLDEN" in os.environ:
        pytest.skip("a folder of other cases need not hold every file")
    missing = (set(GOLDEN) | set(PENDING)) - {path.stem for path in golden.glob("*.json")}
    assert not missing, f"no such golden file: {sorted(missing)}"


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_the_functions_of_a_file_are_public(name):
    for function in GOLDEN[name].functions:
        module, _, attribute = function.rpartition(".")
        assert callable(getattr(importlib.import_module(module), attribute))
        assert not attribute.startswith("_")


@pytest.mark.filterwarnings("ignore::tamis.errors.TamisWarning")
@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_cases(golden, name):
    path = golden / f"{name}.json"
    if not path.exists():
        pytest.skip(f"no {path.name} in this folder")
    cases = json.loads(path.read_text(encoding="utf-8"))
    waits = [case for case in cases if _waits(GOLDEN[name], case)]
    assert len(waits) < len(cases), f"every case of {path.name} is pending: list the file in PENDING"
    for case in cases:
        if case in waits:
            continue
        compare(case, GOLDEN[name].outputs(case), GOLDEN[name].informative)


def test_the_comparison_can_fail():
    case = {"case": "made up", "rtol": 1e-6, "expected": {"value": [1.0, 1000.0], "official_value": 3}}
    compare(case, {"value": [1.0 + 0.9e-3, 1000.0]})
    compare({**case, "expected": {"truth": [1.0]}}, {}, informative=("truth",))
    with pytest.raises(AssertionError, match="made up: value"):
        compare(case, {"value": [1.0 + 1.1e-3, 1000.0]})
    with pytest.raises(AssertionError, match="gives no value"):
        compare(case, {})
    with pytest.raises(AssertionError, match=r"shape \(1,\), not \(2,\)"):
        compare(case, {"value": [1.0]})
    with pytest.raises(AssertionError):
        compare({**case, "expected": {"value": [1.0]}}, {"value": [float("nan")]})
