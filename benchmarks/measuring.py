"""A command in a process of its own: wall clock, processor seconds, peak memory. Reads Linux' /proc."""

from __future__ import annotations

import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_INTERVAL = 0.05  # seconds between two looks at the memory


@dataclass(frozen=True)
class Measured:
    """What one command printed and cost.

    Attributes
    ----------
    stdout : str
    wall : float
        Seconds, start of the interpreter and imports included.
    cpu : float
        Processor seconds, user and system, of the process and of every child it waited for.
    peak_mb : float
        Most resident memory of the process, in 10^6 bytes, mapped files included.
    private_mb : float
        Most resident memory that belongs to no file: ``peak_mb`` without mapped files and program code. Seen
        every 50 milliseconds.
    """

    stdout: str
    wall: float
    cpu: float
    peak_mb: float
    private_mb: float

    def cost(self) -> dict[str, float]:
        """Return the figures as cells of a row."""
        return {name: getattr(self, name) for name in ("wall", "cpu", "peak_mb", "private_mb")}


def measure(command: Sequence[str], *, environment: Mapping[str, str] | None = None) -> Measured:
    """Run a command to its end and measure it; a command that fails ends the benchmark with its errors."""
    env = os.environ | {"TAMIS_PROGRESS": "0"} | dict(environment or {})
    with _text_file() as stdout, _text_file() as stderr:
        start = time.perf_counter()
        process = subprocess.Popen(list(command), stdout=stdout, stderr=stderr, env=env)
        try:
            status, usage, peak, private = _watch(process.pid)
        except BaseException:
            process.kill()
            process.wait()
            raise
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        stdout.seek(0)
        stderr.seek(0)
        printed, complaints = stdout.read(), stderr.read()
    if process.returncode != 0:
        raise SystemExit(f"exit code {process.returncode}: {' '.join(command)}\n{complaints}")
    return Measured(printed, wall, usage.ru_utime + usage.ru_stime, peak / 1e6, private / 1e6)


def _text_file() -> IO[str]:
    # Files, not pipes: nobody reads while the command runs.
    return tempfile.TemporaryFile("w+", encoding="utf-8")


def _watch(pid: int) -> tuple[int, resource.struct_rusage, int, int]:
    peak = private = 0
    while True:
        # Not ru_maxrss: it starts with the memory of the process that forked.
        memory = _memory(pid)
        peak = max(peak, memory.get("VmHWM", 0))
        private = max(private, memory.get("RssAnon", 0))
        found, status, usage = os.wait4(pid, os.WNOHANG)
        if found == pid:
            return status, usage, peak, private
        time.sleep(_INTERVAL)


def _memory(pid: int) -> dict[str, int]:
    """Return the memory lines of a process in bytes; none where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in lines if line.endswith("kB"))
    return {name: int(value.split()[0]) * 1024 for name, value in pairs}
