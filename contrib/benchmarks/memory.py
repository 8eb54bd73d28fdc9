"""Peak memory: one process for each system, which loads the data, fits once, and tells its peak.

As a script: `python memory.py CASE_FILE [SYSTEM]`; without a system the peak of the data alone. The number of threads
comes with the environment.
"""

from __future__ import annotations

import pickle
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from measure import Outcome, quiet


def own_peak() -> int:
    """The peak of this process, in bytes.

    Linux starts ru_maxrss of a new process at the peak of its parent, which holds data of its own; VmHWM starts anew.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _child(file: Path, system: str | None) -> int:
    command = [sys.executable, __file__, str(file), *([system] if system else [])]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def add_memory(outcome: Outcome, tell: Callable[[str], None]) -> None:
    """Put the peaks into an outcome."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "case.pickle")
        file.write_bytes(pickle.dumps(outcome.case))
        outcome.baseline = _child(file, None)
        for series in outcome.series:
            try:
                series.peak = _child(file, series.system)
            except subprocess.CalledProcessError as problem:
                tell(
                    f"{outcome.case.name}: the memory of {series.system} is not known: {problem.stderr.strip()[-200:]}"
                )


def main() -> None:
    from adapters import ADAPTERS

    with Path(sys.argv[1]).open("rb") as file:
        case = pickle.load(file)
    peak = None
    if len(sys.argv) > 2:
        with quiet():
            peak = ADAPTERS[sys.argv[2]].run(case).peak
    print(own_peak() if peak is None else peak)


if __name__ == "__main__":
    main()
