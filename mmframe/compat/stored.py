"""Saved results: the file of the FitResult with two members more, which hold the packed parameters and the data."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from attrs import evolve
from scipy import sparse

from mmframe.compat.components import Component
from mmframe.compat.inputs import Inputs, restored
from mmframe.compat.params import MixedLMParams
from mmframe.compat.sampling import Sampling
from mmframe.errors import StoreError
from mmframe.results.result import FitResult
from mmframe.results.store import (
    Reader,
    Writer,
    read_fit,
    read_members,
    saved_file,
    whole_file,
    write_fit,
    write_members,
)

if TYPE_CHECKING:
    from mmframe.compat.results import MixedLMResults

FORMAT = 1
_STEM = "mixedlm_"


def detached(fit: FitResult) -> FitResult:
    """The fit as a file would hold it: without its data."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        write_fit(fit, archive)
    with zipfile.ZipFile(held) as archive:
        return read_fit(archive, "memory")


def save(results: MixedLMResults, path: str | Path) -> None:
    """Write results, and the data where the model still has them. Raises StoreError."""
    write, state, model = Writer(), results.state, results.model
    document = {
        "mixedlm": FORMAT,
        "params": write.value(_packed(state.params)),
        "free": None if state.free is None else write.value(_packed(state.free)),
        "sampling": write.value([results.sampling.cov, results.sampling.natural]),
        "numbers": write.value([state.scale, state.llf, state.reml, state.converged, state.penalized, state.slopes]),
        "hist": write.value(state.hist),
        "use_sqrt": model.use_sqrt,
        "names": write.value(model.kept()),
        "data": None if model.removed else write.value(_data(model._given)),
    }
    with whole_file(path) as archive:
        write_fit(results.mmframe, archive)
        write_members(archive, document, write.arrays, _STEM)


def load(path: str | Path) -> MixedLMResults:
    """Read results. Raises StoreError for a file that is none, or of a later format."""
    from mmframe.compat.mixedlm import MixedLM
    from mmframe.compat.results import MixedLMResults, State

    with saved_file(path) as archive:
        if f"{_STEM}fit.json" not in archive.namelist():
            raise StoreError(f"{str(path)!r} holds no MixedLM results · mmframe.load reads other fits")
        document, arrays = read_members(archive, _STEM)
        fit = read_fit(archive, path)
    if document.get("mixedlm") != FORMAT:
        raise StoreError(f"{str(path)!r} has the format {document.get('mixedlm')!r} · this version reads {FORMAT}")
    read = Reader(arrays)
    params, free = _unpacked(read.value(document["params"])), document["free"]
    cov, natural = read.value(document["sampling"])
    scale, llf, reml, converged, penalized, slopes = read.value(document["numbers"])
    names = read.value(document["names"])
    data = document["data"]
    model = MixedLM._restored(None if data is None else _inputs(read.value(data)), names, document["use_sqrt"], reml)
    held = None if free is None else _unpacked(read.value(free))
    state = State(params, scale, llf, reml, converged, held, read.value(document["hist"]), penalized, slopes)
    results = MixedLMResults(model, state, fit)
    results.formula = names["data"]["formula"]
    results.sampling = Sampling(cov, natural)
    return results


def _packed(params: MixedLMParams) -> list[Any]:
    return [np.asarray(p, dtype=float) for p in (params.fe_params, params.cov_re, params.vcomp)]


def _unpacked(parts: list[Any]) -> MixedLMParams:
    slopes, matrix, vcomp = parts
    return MixedLMParams.from_components(slopes, matrix, vcomp=vcomp)


def _data(inputs: Inputs) -> dict[str, Any]:
    """The arrays of a model; sparse designs by their entries."""
    components = []
    for c in inputs.components:
        Z = sparse.csr_array(c.Z)
        components.append([c.name, Z.data, Z.indices, Z.indptr, list(Z.shape), c.counts, [str(v) for v in c.labels]])
    return {
        "endog": inputs.endog, "exog": inputs.exog, "exog_re": inputs.exog_re, "codes": inputs.groups.codes,
        "labels": list(inputs.groups.labels), "index": inputs.index, "components": components,
        "names": [inputs.endog_name, inputs.exog_names, inputs.exog_re_names],
    }  # fmt: skip


def _inputs(data: dict[str, Any]) -> Inputs:
    components = tuple(
        Component(
            name,
            sparse.csr_array((values, columns, starts), shape=tuple(shape)),
            counts,
            np.array(labels, dtype=object),
        )
        for name, values, columns, starts, shape, counts, labels in data["components"]
    )
    endog_name, exog_names, re_names = data["names"]
    labels = pd.Series(data["labels"]).to_numpy()[data["codes"]]
    inputs = restored(
        data["endog"], data["exog"], data["exog_re"], labels, components, endog_name, exog_names, re_names
    )
    return evolve(inputs, index=data["index"])
