"""What a helping process says: nothing, unless the fault is its own."""

from __future__ import annotations

import pytest

from tamis.cli.processes import silent_helper
from tamis.errors import InputError


@pytest.fixture(autouse=True)
def _as_helper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("TAMIS_PROGRESS", "0")


@pytest.mark.parametrize("error", [InputError("lr is 0"), RuntimeError("Connection reset by peer. GLHF!")])
def test_what_the_first_process_says_is_not_said_twice(error: Exception) -> None:
    with silent_helper():
        raise error


def test_an_interrupted_helper_ends_in_silence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped, silent_helper():
        raise KeyboardInterrupt
    assert stopped.value.code == 130
    assert capsys.readouterr() == ("", "")


def test_faults_of_its_own_are_raised() -> None:
    with pytest.raises(RuntimeError, match="mat1"), silent_helper():
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
