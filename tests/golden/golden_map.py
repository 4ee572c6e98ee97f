"""Which public function answers for which golden file.

Every module in ``maps`` has a mapping ``GOLDEN`` from a file (without ``.json``) to the functions it covers
and a runner: the inputs and parameters of one case in, outputs under the names of the case's ``expected``
out. `PENDING` names the files whose functions are not written yet, with their topic. A file stands in
exactly one of the two; the tests beside this module check that, and run every case. Whoever writes a pending
function moves its files.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from golden_case import Golden


def _load(path: Path) -> dict[str, Golden]:
    # By path: the folder is no package, and its names must not hide others on sys.path.
    spec = importlib.util.spec_from_file_location(f"golden_maps_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: dict[str, Golden] = module.GOLDEN
    return found


def _collect() -> dict[str, Golden]:
    collected: dict[str, Golden] = {}
    for path in sorted((Path(__file__).parent / "maps").glob("*.py")):
        found = _load(path)
        twice = collected.keys() & found.keys()
        assert not twice, f"{path.name} maps files that another module maps too: {sorted(twice)}"
        collected |= found
    return collected


GOLDEN = _collect()

_METRIC = "metric learning and retrieval"
_TRAINING = "training methods"
_DISCOVERY = "clustering with unknown classes"

PENDING: dict[str, str] = {
    "confident_learning_multilabel": "multi-label confident learning",
    "multilabel_noise_elr": _TRAINING,
    "multilabel_noise_sat": _TRAINING,
    "otter_distillation_loss": _TRAINING,
    "otter_ema": _TRAINING,
    "otter_sinkhorn": _TRAINING,
    "otter_total_loss": _TRAINING,
    "rcml_choose_noisy_classes": _TRAINING,
    "rcml_group_lasso": _TRAINING,
    "rcml_mmd2": _TRAINING,
    "rcml_swap_rate": _TRAINING,
    "rcml_total_loss": _TRAINING,
    "promptcal_cal_loss": _DISCOVERY,
    "promptcal_cluster_accuracy": _DISCOVERY,
    "promptcal_semi_loss": _DISCOVERY,
    "promptcal_semiag": _DISCOVERY,
}
