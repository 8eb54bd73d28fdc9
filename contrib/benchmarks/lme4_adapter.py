"""lme4, in a process of R's."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from adapter import Adapter, Fit

if TYPE_CHECKING:
    from case import Case

# A short first fit is R's warm-up, a long one counts. The peak is read from the kernel, as far as it tells it.
_R = r"""
suppressPackageStartupMessages(library(lme4))
arguments <- commandArgs(trailingOnly = TRUE)
data <- read.csv(arguments[1])
for (column in arguments[-(1:3)]) data[[column]] <- factor(data[[column]])
one <- function() {
  began <- Sys.time()
  loglike <- as.numeric(logLik(lmer(as.formula(arguments[2]), data, REML = arguments[3] == "reml")))
  c(as.numeric(difftime(Sys.time(), began, units = "secs")), loglike)
}
found <- one()
if (found[1] < 5) found <- one()
status <- tryCatch(readLines("/proc/self/status"), error = function(e) character())
peak <- as.numeric(gsub("[^0-9]", "", grep("^VmHWM", status, value = TRUE)))
cat(sprintf("%.9f %.10f %.0f\n", found[1], found[2], if (length(peak)) peak * 1024 else -1))
"""


class Lme4(Adapter):
    """Timed by R: neither R's start nor the way of the data to it counts."""

    name = "lme4"
    # It was stopped after nine minutes.
    slow = frozenset({"crossed_million"})

    def available(self) -> bool:
        if shutil.which("Rscript") is None:
            return False
        asked = "quit(status = as.integer(!requireNamespace('lme4', quietly = TRUE)))"
        return subprocess.run(["Rscript", "-e", asked], check=False, capture_output=True).returncode == 0

    def version(self) -> str:
        asked = "cat(as.character(packageVersion('lme4')), 'on R', as.character(getRversion()))"
        return subprocess.run(["Rscript", "-e", asked], check=True, capture_output=True, text=True).stdout

    def fit(self, case: Case) -> float:
        return self.run(case).loglike

    def run(self, case: Case) -> Fit:
        factors = dict.fromkeys([*case.groups, *case.data.columns[case.data.dtypes == "category"]])
        with tempfile.TemporaryDirectory() as folder:
            table, script = Path(folder, "data.csv"), Path(folder, "fit.R")
            case.data.to_csv(table, index=False)
            script.write_text(_R, encoding="utf-8")
            command = ["Rscript", str(script), str(table), case.formula, "reml" if case.reml else "ml", *factors]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds, loglike, peak = (float(part) for part in done.stdout.split())
        return Fit(seconds, loglike, int(peak) if peak > 0 else None)
