"""Adapters: one small class a system, from a table and a formula to the log-likelihood of a fit.

Systems are imported inside the methods, so that one which is not installed is only left out.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from cases import Case


@dataclass(frozen=True)
class Fit:
    """One timed fit. `peak` is in bytes, for systems that run in a process of their own; None for the others."""

    seconds: float
    loglike: float
    peak: int | None = None


class Adapter(ABC):
    """A system that fits cases.

    row_limit: cases with more rows are left out, because one fit takes minutes. None: no limit.
    """

    name: ClassVar[str]
    module: ClassVar[str]
    row_limit: ClassVar[int | None] = None

    def available(self) -> bool:
        return util.find_spec(self.module) is not None

    def version(self) -> str:
        return metadata.version(self.name)

    @abstractmethod
    def fit(self, case: Case) -> float:
        """From the table and the formula to the maximised log-likelihood. Nothing is kept for the next call."""

    def run(self, case: Case) -> Fit:
        """`fit` with its wall time."""
        began = time.perf_counter()
        loglike = self.fit(case)
        return Fit(time.perf_counter() - began, loglike)


class Mmframe(Adapter):
    name = "mmframe"
    module = "mmframe"

    def fit(self, case: Case) -> float:
        import mmframe

        return float(mmframe.fit(case.formula, case.data, reml=case.reml).loglike)


class MixedlmRs(Adapter):
    name = "mixedlm-rs"
    module = "mixedlm_rs"

    def fit(self, case: Case) -> float:
        import mixedlm_rs

        model = mixedlm_rs.mixedlm(case.fixed, case.data, groups=case.group, re_formula=f"~{case.basis}")
        return float(model.fit(reml=case.reml).llf)


class Mixedlm(Adapter):
    name = "mixedlm"
    module = "mixedlm"

    def fit(self, case: Case) -> float:
        import mixedlm

        return float(mixedlm.lmer(case.formula, case.data, REML=case.reml).logLik().value)


class LmePython(Adapter):
    name = "lme-python"
    module = "lme_python"

    def fit(self, case: Case) -> float:
        import lme_python

        return float(lme_python.lmer(case.formula, data=case.data, reml=case.reml).log_likelihood)


class Statsmodels(Adapter):
    name = "statsmodels"
    module = "statsmodels"
    # About half a second for each thousand rows of small groups.
    row_limit = 20_000

    def fit(self, case: Case) -> float:
        import statsmodels.formula.api as smf

        model = smf.mixedlm(case.fixed, case.data, groups=case.group, re_formula=f"~{case.basis}")
        return float(model.fit(reml=case.reml).llf)


# The first fit is R's warm-up. The peak is read from the kernel, as far as it tells it.
_R = r"""
suppressPackageStartupMessages(library(lme4))
arguments <- commandArgs(trailingOnly = TRUE)
data <- read.csv(arguments[1])
data[[arguments[3]]] <- factor(data[[arguments[3]]])
one <- function() as.numeric(logLik(lmer(as.formula(arguments[2]), data, REML = arguments[4] == "reml")))
invisible(one())
began <- Sys.time()
loglike <- one()
seconds <- as.numeric(difftime(Sys.time(), began, units = "secs"))
status <- tryCatch(readLines("/proc/self/status"), error = function(e) character())
peak <- as.numeric(gsub("[^0-9]", "", grep("^VmHWM", status, value = TRUE)))
cat(sprintf("%.9f %.10f %.0f\n", seconds, loglike, if (length(peak)) peak * 1024 else -1))
"""


class Lme4(Adapter):
    """lme4 in a process of R's, timed by R: neither R's start nor the way of the data to it counts."""

    name = "lme4"

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
        with tempfile.TemporaryDirectory() as folder:
            table, script = Path(folder, "data.csv"), Path(folder, "fit.R")
            case.data.to_csv(table, index=False)
            script.write_text(_R, encoding="utf-8")
            command = ["Rscript", script, table, case.formula, case.group, "reml" if case.reml else "ml"]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds, loglike, peak = (float(part) for part in done.stdout.split())
        return Fit(seconds, loglike, int(peak) if peak > 0 else None)


ADAPTERS: dict[str, Adapter] = {
    adapter.name: adapter for adapter in (Mmframe(), MixedlmRs(), Mixedlm(), LmePython(), Statsmodels(), Lme4())
}
REFERENCE = Mmframe.name
