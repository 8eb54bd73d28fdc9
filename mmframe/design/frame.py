"""Tables: pandas, anything that narwhals reads (polars, pyarrow), a dict of columns, or a path; always to pandas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import narwhals.stable.v1 as nw
import numpy as np
import pandas as pd

from mmframe.errors import DataError, Issue, UnknownNameError, nearest


def read_table(path: str | Path, where: str = "data") -> pd.DataFrame:
    """A CSV (also compressed) or Parquet file. Raises DataError where it cannot be read."""
    file = Path(path)
    if not file.is_file():
        what = "this is no file:" if file.exists() else "there is no file"
        near = nearest(file.name, [p.name for p in file.parent.glob("*")]) if file.parent.is_dir() else ""
        raise DataError(f"{where}: {what} {str(path)!r} · allowed: a CSV or Parquet file · {near}".rstrip(" ·"))
    try:
        if file.suffix.lower() in (".parquet", ".pq"):
            return pd.read_parquet(file)
        return pd.read_csv(file)
    except (ValueError, OSError, ImportError, pd.errors.ParserError) as problem:
        raise DataError(f"{where}: {str(path)!r} cannot be read: {problem}") from None


def to_pandas(data: Any, columns: Iterable[str], where: str = "data") -> pd.DataFrame:
    """The columns that a model uses, as pandas. Raises UnknownNameError for columns that are not there."""
    wanted = sorted(columns)
    if isinstance(data, (str, Path)):
        data = read_table(data)
    if isinstance(data, Mapping):
        try:
            data = pd.DataFrame(dict(data))
        except ValueError as problem:
            raise DataError(f"data: the columns do not make a table: {problem}") from None
    if isinstance(data, pd.DataFrame):
        _require(wanted, [str(c) for c in data.columns], where)
        _no_duplicates(wanted, data)
        return data
    try:
        table = nw.from_native(data, eager_only=True)
    except TypeError:
        raise DataError(
            f"data: a {type(data).__name__} · allowed: a pandas, polars or pyarrow table, a dict of columns, or the path"
            " of a CSV or Parquet file"
        ) from None
    _require(wanted, table.columns, where)
    return pd.DataFrame(table.select(wanted).to_pandas())


def _require(wanted: list[str], known: list[str], where: str) -> None:
    missing = [name for name in wanted if name not in known]
    if missing:
        listed = ", ".join(known[:40])
        raise UnknownNameError(
            [Issue(where, f"there is no column {name!r}", listed, nearest(name, known)) for name in missing]
        )


def _no_duplicates(wanted: list[str], data: pd.DataFrame) -> None:
    if data.columns.is_unique:
        return
    twice = [name for name in wanted if list(data.columns).count(name) > 1]
    if twice:
        raise DataError(
            f"data: the column {twice[0]!r} stands {list(data.columns).count(twice[0])} times · rename all but one"
        )


def as_categories(column: pd.Series, levels: list[Any] | None, name: str) -> pd.Series:
    """A categorical column with levels in order; None takes them as they come. Raises DataError for other values."""
    present = _distinct(column, name)
    flat = levels is None or all(not isinstance(v, (list, dict, set)) for v in levels)
    if levels is not None and (
        not flat or any(v is None or v != v for v in levels) or len({str(v) for v in levels}) < len(levels)
    ):
        raise DataError(f"categorical {name!r}: the levels {levels} · allowed: different values, none of them missing")
    if levels is None:
        levels = list(present)
    else:
        by_text = {str(level): level for level in present}
        levels = [level if level in set(present) else by_text.get(str(level), level) for level in levels]
        unknown = [value for value in present if value not in set(levels)]
        if unknown:
            raise DataError(
                f"categorical {name!r}: the data hold {unknown[0]!r}, which is not among the levels {levels}"
                " · add it, or drop these rows first"
            )
    return pd.Series(pd.Categorical(column, categories=levels), index=column.index, name=column.name)


def _distinct(column: pd.Series, name: str) -> Any:
    try:
        return pd.unique(column.dropna())
    except TypeError:
        raise DataError(
            f"column {name!r}: values such as {column.iloc[0]!r} · allowed: values that can be told apart (hashable)"
        ) from None


def recode(column: pd.Series, levels: list[Any]) -> pd.Series:
    """New data's column with the levels that were fitted, matched by value and then as text; missing stays missing.

    Raises DataError for a value that was not fitted.
    """
    codes, distinct = pd.factorize(column)
    known = {str(level): k for k, level in enumerate(levels)} | {level: k for k, level in enumerate(levels)}
    places = np.array([known.get(value, known.get(str(value), -1)) for value in distinct], dtype=np.intp)
    if np.any(places < 0):
        unseen = distinct[int(np.flatnonzero(places < 0)[0])]
        raise DataError(
            f"new data: {column.name!r} holds {unseen!r}, which is not among the levels that were fitted ({levels})"
            " · drop these rows, or fit again with them"
        )
    found = np.where(codes >= 0, np.append(places, -1)[codes], -1)
    categories: Any = levels
    return pd.Series(pd.Categorical.from_codes(found, categories=categories), index=column.index, name=column.name)
