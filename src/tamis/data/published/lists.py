"""Text lists of published data sets, line by line; what is wrong is told with file and line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tamis.errors import InputError

_CODE = re.compile(r"[0-9]{1,9}")


class Line(NamedTuple):
    """One line of a list: where it stands and what it says, without the line end."""

    path: Path
    number: int
    text: str

    def error(self, problem: str) -> InputError:
        """Return the error that names this line."""
        shown = self.text if len(self.text) <= 80 else self.text[:77] + "..."
        return InputError(f"{self.path}, line {self.number} ({shown!r}): {problem}")

    def code(self, text: str, n_classes: int | None) -> int:
        """Return the label id that ``text`` is.

        Raises
        ------
        InputError
            Not a whole number, or outside 0..``n_classes`` - 1.
        """
        if not _CODE.fullmatch(text):
            raise self.error(f"the label {text!r} is not a whole number; the line may be cut off")
        code = int(text)
        if n_classes is not None and code >= n_classes:
            raise self.error(f"the label {code} is not legal; legal are 0 to {n_classes - 1}")
        return code


def read_lines(path: Path) -> Iterator[Line]:
    """Yield the lines of a UTF-8 file that are not empty.

    Raises
    ------
    InputError
        The file is missing, is no UTF-8 text (with the line), or holds no line.
    """
    number = 0
    is_empty = True
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                text = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                if text.strip():
                    is_empty = False
                    yield Line(path, number, text)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}, line {number} is not UTF-8 text; unpack or download the file again"
        ) from error
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); check that the data set is unpacked there"
        ) from error
    if is_empty:
        raise InputError(f"{path} is empty; download it again")


def read_pairs(
    path: Path,
    *,
    separator: str = " ",
    n_classes: int | None = None,
    heading: str | None = None,
    may_repeat: bool = False,
) -> Iterator[tuple[Line, str, int]]:
    """Yield the lines ``<key><separator><label id>`` of a list as (line, key, label).

    The separator counts where it stands last, so keys may hold it too. A first line that begins with
    ``heading`` is passed over. With ``may_repeat`` a key may occur twice.

    Raises
    ------
    InputError
        With file and line: no separator or key, a label that is not legal, a key that occurs twice.
    """
    seen: dict[str, int] = {}
    for line in read_lines(path):
        if heading is not None and line.number == 1 and line.text.startswith(heading):
            continue
        key, found, label = line.text.rstrip().rpartition(separator)
        key = key.strip()
        if not found or not key:
            raise line.error(
                f"expected a file and a label id with {separator!r} between; the line may be cut off"
            )
        if not may_repeat:
            _note_key(seen, key, line)
        yield line, key, line.code(label, n_classes)


def read_keys(path: Path) -> Iterator[tuple[Line, str]]:
    """Yield the lines of a list of keys, one key a line.

    Raises
    ------
    InputError
        A key occurs twice, with file and both lines.
    """
    seen: dict[str, int] = {}
    for line in read_lines(path):
        key = line.text.strip()
        _note_key(seen, key, line)
        yield line, key


def _note_key(seen: dict[str, int], key: str, line: Line) -> None:
    before = seen.setdefault(key, line.number)
    if before != line.number:
        raise line.error(f"{key[:80]!r} stands in line {before} already; each file may be listed once")
