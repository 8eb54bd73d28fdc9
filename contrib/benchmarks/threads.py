"""One thread: the number of cores must not decide a comparison, and libraries read these variables when they load."""

from __future__ import annotations

import os
import sys

VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")


def use_one_thread() -> None:
    """Set every variable to 1; start the process again where numpy has already read other values."""
    wrong = [name for name in VARIABLES if os.environ.get(name) != "1"]
    if not wrong:
        return
    os.environ.update(dict.fromkeys(VARIABLES, "1"))
    if "numpy" in sys.modules:
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
