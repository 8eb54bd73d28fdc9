"""Saved fits: one zip with `fit.json` and `arrays.npz`. No pickle: what is read is data, never code."""

from __future__ import annotations

import datetime
import io
import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pandas as pd

from mmframe.design.fixed_summary import FixedSummary
from mmframe.errors import StoreError
from mmframe.likelihood.effects import TabledEffects
from mmframe.results.estimates import Estimates, TermEstimate
from mmframe.results.residual import Table
from mmframe.results.result import FitResult
from mmframe.results.sensitivity import Sensitivity
from mmframe.results.stored_encoding import fields_of, read_encoding, write_encoding
from mmframe.results.stored_memory import read_memory, write_memory
from mmframe.results.stored_source import StoredSource
from mmframe.spec.document import from_dict
from mmframe.spec.written import as_named, to_dict

FORMAT = 3
_MATRIX = "(a matrix)"  # stands in a saved specification for a relationship that was no file
_JSON, _ARRAYS = "fit.json", "arrays.npz"


class Writer:
    """Values to JSON; arrays go to the npz by number."""

    def __init__(self) -> None:
        self.arrays: dict[str, Any] = {}

    def array(self, values: Any) -> dict[str, str]:
        array = np.asarray(values)
        if array.dtype.kind not in "fiub":
            raise StoreError(f"cannot save an array of {array.dtype} · allowed: numbers")
        key = f"a{len(self.arrays)}"
        self.arrays[key] = array
        return {"@array": key}

    def value(self, value: Any) -> Any:
        if value is None or isinstance(value, (bool, str)):
            return value
        if isinstance(value, np.bool_):
            return bool(value)
        if isinstance(value, (int, np.integer)):
            return int(value)
        if isinstance(value, (float, np.floating)):
            number = float(value)
            return number if np.isfinite(number) else {"@float": repr(number)}
        if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
            return self.array(value)
        if isinstance(value, pd.Index):
            return self.index(value)
        if isinstance(value, tuple):
            return {"@tuple": [self.value(v) for v in value]}
        if isinstance(value, (list, np.ndarray)):
            return [self.value(v) for v in value]
        if isinstance(value, dict):
            return {"@dict": [[self.value(k), self.value(v)] for k, v in value.items()]}
        if isinstance(value, (pd.Timestamp, np.datetime64, datetime.date)):
            return {"@time": pd.Timestamp(value).isoformat()}
        raise StoreError(
            f"cannot save a value of type {type(value).__name__} ({value!r}) · allowed: numbers, text, dates, tuples"
        )

    def index(self, index: pd.Index) -> Any:
        if isinstance(index, pd.MultiIndex):
            parts = [self.index(index.get_level_values(k)) for k in range(index.nlevels)]
            return {"@multiindex": parts, "names": [self.value(n) for n in index.names]}
        if isinstance(index, pd.RangeIndex):
            return {"@range": [index.start, index.stop, index.step]}
        name = self.value(index.name)
        if isinstance(index.dtype, np.dtype) and index.dtype.kind in "fiub":
            return {"@index": self.array(index.to_numpy()), "name": name}
        return {"@index": [self.value(v) for v in index.astype(object)], "name": name}


class Reader:
    def __init__(self, arrays: Any) -> None:
        self.arrays = arrays

    def value(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self.value(v) for v in value]
        if not isinstance(value, dict):
            return value
        if "@array" in value:
            return self.arrays[value["@array"]]
        if "@float" in value:
            return float(value["@float"])
        if "@tuple" in value:
            return tuple(self.value(v) for v in value["@tuple"])
        if "@dict" in value:
            return {self.value(k): self.value(v) for k, v in value["@dict"]}
        if "@time" in value:
            return pd.Timestamp(value["@time"])
        if "@range" in value:
            return pd.RangeIndex(*value["@range"])
        if "@multiindex" in value:
            names = [self.value(n) for n in value["names"]]
            return pd.MultiIndex.from_arrays([self.value(p) for p in value["@multiindex"]], names=names)
        if "@index" in value:
            return pd.Index(self.value(value["@index"]), name=self.value(value["name"]), tupleize_cols=False)
        raise StoreError("the file holds a value of an unknown kind")


def save(fit: FitResult, path: str | Path) -> Path:
    """Write a fit. Raises StoreError for what cannot be written without code (functions of one's own in formulas)."""
    with whole_file(path) as archive:
        write_fit(fit, archive)
    return Path(path)


def write_fit(fit: FitResult, archive: zipfile.ZipFile) -> None:
    """Write a fit into an archive. Raises StoreError, as `save`."""
    if fit.spec.transforms:
        names = ", ".join(fit.spec.transforms)
        raise StoreError(f"cannot save the functions {names} · put what they compute into columns, and fit those")
    write = Writer()
    source, effects, moves = fit.source, fit.source.effects, fit.source.kept_sensitivity
    spec = attrs.evolve(
        fit.spec,
        weights=None if _is_array(fit.spec.weights) else fit.spec.weights,
        offset=None if _is_array(fit.spec.offset) else fit.spec.offset,
        relationship={k: v if isinstance(v, (str, dict)) else _MATRIX for k, v in fit.spec.relationship.items()},
        random=tuple(attrs.evolve(t, structure=as_named(t.structure)) for t in fit.spec.random),
        residual=fit.spec.residual and attrs.evolve(fit.spec.residual, structure=as_named(fit.spec.residual.structure)),
        variance=tuple(as_named(v) for v in fit.spec.variance),
    )
    estimates = {**fields_of(fit.estimates), "terms": [fields_of(t) for t in fit.estimates.terms]}
    document = {
        "mmframe_fit": FORMAT,
        "spec": to_dict(spec),
        "estimates": write.value(estimates),
        "parameters": write.value({c: source.parameter_table[c].tolist() for c in source.parameter_table}),
        "parameter_cov": write.array(source.parameter_cov),
        "effects": write.value(
            {"b": effects.b, "covariances": effects.cov, "shifts": effects.shift, "whole": effects.joint}
        ),
        "fitted": write.array(source.fitted),
        "population": write.array(source.population),
        "response": write.array(source.response),
        "weights": None if source.weights is None else write.array(source.weights),
        "index": write.value(source.index),
        "residual_tables": write.value([fields_of(t) for t in source.residual_tables]),
        "memory": write.value(write_memory(source.memory, source.residual_flats)),
        "pearson": write.array(source.pearson),
        "normalized": write.array(source.normalized),
        "sensitivity": write.value(None if moves is None else fields_of(moves)),
        "second_order": write.value(None if moves is None else source.second_order),
        "encoding": write.value(write_encoding(source.encoding)),
        "fixed_summary": write.value(fields_of(source.fixed_summary)),
    }
    write_members(archive, document, write.arrays)


def write_members(archive: zipfile.ZipFile, document: Any, arrays: dict[str, Any], stem: str = "") -> None:
    """A document and its arrays as two members of an archive."""
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)
    archive.writestr(stem + _JSON, json.dumps(document, allow_nan=False))
    archive.writestr(stem + _ARRAYS, packed.getvalue())


def read_members(archive: zipfile.ZipFile, stem: str = "") -> tuple[Any, dict[str, Any]]:
    """The document and the arrays of two members of an archive."""
    document = json.loads(archive.read(stem + _JSON))
    with np.load(io.BytesIO(archive.read(stem + _ARRAYS)), allow_pickle=False) as stored:
        return document, {name: stored[name] for name in stored.files}


@contextmanager
def whole_file(path: str | Path) -> Iterator[zipfile.ZipFile]:
    """An archive that becomes the file when all is written: a full file or none."""
    file = Path(path)
    partial = file.with_name(file.name + ".partial")
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
            yield archive
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def saved_file(path: str | Path) -> Iterator[zipfile.ZipFile]:
    """A saved file for reading. Raises StoreError where it is missing or damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except FileNotFoundError:
        raise StoreError(f"there is no file {str(path)!r}") from None
    except StoreError:
        raise
    except (OSError, zipfile.BadZipFile, KeyError, ValueError) as problem:
        raise StoreError(f"{str(path)!r} is not a saved fit: {problem}") from None


def _is_array(name: str | None) -> bool:
    return name is not None and name.startswith("(")


def load(path: str | Path) -> FitResult:
    """Read a saved fit. Raises StoreError where the file is missing, damaged or of a later format."""
    with saved_file(path) as archive:
        return read_fit(archive, path)


def read_fit(archive: zipfile.ZipFile, path: str | Path) -> FitResult:
    """Read a fit from an archive. Raises StoreError, as `load`."""
    document, arrays = read_members(archive)
    if document.get("mmframe_fit") != FORMAT:
        raise StoreError(f"{str(path)!r} has the format {document.get('mmframe_fit')!r} · this version reads {FORMAT}")
    read = Reader(arrays)
    try:
        estimates = read.value(document["estimates"])
        estimates["terms"] = tuple(TermEstimate(**t) for t in estimates["terms"])
        weights = document["weights"]
        spec = from_dict(document["spec"], str(path))
        source = StoredSource(
            Estimates(**estimates),
            pd.DataFrame(read.value(document["parameters"])),
            read.value(document["parameter_cov"]),
            TabledEffects(**read.value(document["effects"])),
            read.value(document["fitted"]),
            read.value(document["population"]),
            read.value(document["response"]),
            None if weights is None else read.value(weights),
            read.value(document["index"]),
            read_encoding(read.value(document["encoding"])),
            tuple(Table(**t) for t in read.value(document["residual_tables"])),
            read.value(document["pearson"]),
            read.value(document["normalized"]),
            read_memory(read.value(document["memory"]), spec),
            None if document["sensitivity"] is None else Sensitivity(**read.value(document["sensitivity"])),
            read.value(document["second_order"]),
            FixedSummary(**read.value(document["fixed_summary"])),
        )
        return FitResult(spec, source.estimates, source)
    except (KeyError, TypeError) as problem:
        raise StoreError(f"{str(path)!r} is damaged: {problem}") from None
