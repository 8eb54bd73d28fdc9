"""The bundle: a folder that holds a whole run, to be trusted and run again."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path

import attrs

from mmframe.results.result import FitResult
from mmframe.spec.yaml_text import write_yaml


def sha256(path: str | Path) -> str:
    """The SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _hashed(file: str | Path) -> dict[str, str]:
    return {"file": Path(file).name, "sha256": sha256(file)}


def write_bundle(fit: FitResult, folder: str | Path) -> Path:
    """Specification, data hash, versions, trace, tables and the saved fit.

    spec.yaml, run.json, summary.txt, trace.csv, coefficients.csv, parameters.csv, random_effects_<group>.csv, fit.mmframe.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    data = fit.spec.data
    files = {k: v for k, v in fit.spec.relationship.items() if isinstance(v, (str, Mapping))}
    spec = attrs.evolve(
        fit.spec,
        data=None if data is None else str(Path(data).resolve()),
        relationship={
            k: str(Path(v).resolve()) if isinstance(v, str) else {**v, "file": str(Path(v["file"]).resolve())}
            for k, v in files.items()
        },
    )
    (target / "spec.yaml").write_text(write_yaml(spec), encoding="utf-8")
    run = {
        "data": None if data is None else _hashed(data),
        "relationship": {k: _hashed(v if isinstance(v, str) else v["file"]) for k, v in files.items()},
        "versions": fit.estimates.versions,
        "structures": [t.structure for t in fit.estimates.terms],
        "loglike": fit.loglike,
        "reml": fit.reml,
        "nobs": fit.nobs,
        "rows_dropped": fit.estimates.n_missing,
        "converged": fit.converged,
        "singular": fit.singular,
        "stop_reason": fit.stop_reason,
        "evaluations": fit.estimates.evaluations,
        "seconds": fit.estimates.seconds,
        "phases": fit.estimates.phases,
    }
    (target / "run.json").write_text(json.dumps(run, indent=2), encoding="utf-8")
    (target / "summary.txt").write_text(fit.summary() + "\n", encoding="utf-8")
    fit.trace.to_csv(target / "trace.csv", index=False)
    fit.coefficients().to_csv(target / "coefficients.csv", index_label="term")
    fit.parameters.to_csv(target / "parameters.csv", index=False)
    for name, table in fit.random_effects.items():
        plain = re.sub(r"[^\w.-]+", "_", name)
        table.to_csv(target / f"random_effects_{plain}.csv")
    fit.save(target / "fit.mmframe")
    return target
