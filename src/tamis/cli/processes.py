"""Commands that run in several processes: the first one talks, the others are silent."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from tamis.errors import TamisError


def is_helper() -> bool:
    """Return whether this process was started by another one to help it train."""
    return int(os.environ.get("LOCAL_RANK", "0") or 0) > 0


@contextlib.contextmanager
def silent_helper() -> Iterator[None]:
    """In a helping process: print nothing, draw no bars, and leave what can go wrong to the first one to say.

    Errors of the user's making happen in every process alike.
    """
    if not is_helper():
        yield
        return
    os.environ["TAMIS_PROGRESS"] = "0"
    with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123 - a device, not a path
        before, sys.stdout = sys.stdout, nowhere
        try:
            yield
        except TamisError:
            return
        except KeyboardInterrupt:
            raise SystemExit(130) from None
        except RuntimeError as error:
            # The first process has stopped, and said why; gloo notices that its side of the line is gone.
            if "by peer" not in str(error):
                raise
        finally:
            sys.stdout = before
