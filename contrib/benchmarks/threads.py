"""How many threads: the cores must not decide a comparison, and libraries read these variables as they load."""

from __future__ import annotations

import argparse
import os
import sys

VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "RAYON_NUM_THREADS",
    "POLARS_MAX_THREADS",
)


def option() -> argparse.ArgumentParser:
    """A parser of `--threads` alone, a parent for others."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--threads", type=_count, default=1, metavar="N", help="threads of each system (default 1)")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return int(text)


def use_threads() -> None:
    """Set every variable to what `--threads` says; start again where numpy has already read other values."""
    count = str(option().parse_known_args()[0].threads)
    wrong = [name for name in VARIABLES if os.environ.get(name) != count]
    os.environ.update(dict.fromkeys(VARIABLES, count))
    if wrong and "numpy" in sys.modules:
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def threads() -> int:
    """What this process was given."""
    return int(os.environ.get(VARIABLES[0], "1"))
