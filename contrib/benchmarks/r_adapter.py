"""Packages of R, each fit in a process of R's own."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from adapter import Adapter, Fit

if TYPE_CHECKING:
    from case import Case

# A short first fit is R's warm-up, a long one counts. The peak is read from the kernel, as far as it tells it.
_R = r"""
arguments <- commandArgs(trailingOnly = TRUE)
suppressPackageStartupMessages(library(arguments[1], character.only = TRUE))
data <- read.csv(arguments[2])
for (column in arguments[-(1:3)]) data[[column]] <- factor(data[[column]])
call <- parse(text = arguments[3])[[1]]
one <- function() {
  began <- Sys.time()
  loglike <- as.numeric(logLik(eval(call)))
  c(as.numeric(difftime(Sys.time(), began, units = "secs")), loglike)
}
found <- one()
if (found[1] < 5) found <- one()
status <- tryCatch(readLines("/proc/self/status"), error = function(e) character())
peak <- as.numeric(gsub("[^0-9]", "", grep("^VmHWM", status, value = TRUE)))
cat(sprintf("\n%.9f %.10f %.0f\n", found[1], found[2], if (length(peak)) peak * 1024 else -1))
"""


class RPackage(Adapter):
    """Timed by R: neither R's start nor the way of the data to it counts. `name` is the package's."""

    def available(self) -> bool:
        if shutil.which("Rscript") is None:
            return False
        asked = f"quit(status = as.integer(!requireNamespace('{self.name}', quietly = TRUE)))"
        return subprocess.run(["Rscript", "-e", asked], check=False, capture_output=True).returncode == 0

    def version(self) -> str:
        asked = f"cat(as.character(packageVersion('{self.name}')), 'on R', as.character(getRversion()))"
        return subprocess.run(["Rscript", "-e", asked], check=True, capture_output=True, text=True).stdout

    @abstractmethod
    def call(self, case: Case) -> str:
        """R's call that fits the case to the data frame `data`, in which groups and text are factors."""

    def fit(self, case: Case) -> float:
        return self.run(case).loglike

    def run(self, case: Case) -> Fit:
        labels = [name for name in case.data.columns if not pd.api.types.is_numeric_dtype(case.data[name])]
        with tempfile.TemporaryDirectory() as folder:
            table, script = Path(folder, "data.csv"), Path(folder, "fit.R")
            case.data.to_csv(table, index=False)
            script.write_text(_R, encoding="utf-8")
            command = ["Rscript", str(script), self.name, str(table), self.call(case)]
            done = subprocess.run(
                [*command, *dict.fromkeys([*case.groups, *labels])], check=False, capture_output=True, text=True
            )
        if done.returncode:
            raise RuntimeError(done.stderr.strip()[-300:])
        seconds, loglike, peak = (float(part) for part in done.stdout.split()[-3:])
        return Fit(seconds, loglike, int(peak) if peak > 0 else None)
