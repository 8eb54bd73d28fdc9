"""Tables of parents as users have them, to codes: unknown parents, parents without a row, labels as numbers or text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from attrs import frozen
from numpy.typing import NDArray

Codes = NDArray[np.intp]

UNKNOWN = ("", "0", ".")


@frozen(eq=False)
class Parents:
    """animals (n,): labels, those with a row first, then founders without one. sire, dam (n,): places among them, -1 unknown."""

    animals: pd.Index
    sire: Codes
    dam: Codes


def table_of(source: Any, what: str) -> pd.DataFrame:
    """A DataFrame, a mapping of columns, a table that knows `to_pandas`, or the path of a CSV file (all read as text)."""
    if isinstance(source, pd.DataFrame):
        return source
    if isinstance(source, (str, Path)):
        if not Path(source).is_file():
            raise ValueError(f"{what}: there is no file {str(source)!r} · allowed: the path of a CSV file, or a table")
        return pd.read_csv(source, dtype=str, keep_default_na=False)
    if isinstance(source, Mapping):
        return pd.DataFrame(dict(source))
    if hasattr(source, "to_pandas"):
        return pd.DataFrame(source.to_pandas())
    raise ValueError(
        f"{what}: given a {type(source).__name__} · allowed: a DataFrame, a dict of columns, or a CSV file"
    )


def read_parents(table: pd.DataFrame, columns: tuple[str, str, str], *, selfing: bool) -> Parents:
    """Raises ValueError in words that name the animals."""
    missing = [c for c in columns if c not in table.columns]
    if missing:
        raise ValueError(
            f"pedigree: it has no column {missing[0]!r} · its columns are {', '.join(map(str, table.columns))}"
            " · name them by animal=, sire= and dam="
        )
    numbers = all(_is_number(table[c]) for c in columns)
    animal, sire, dam = (_labels(table[c], c, numbers=numbers) for c in columns)
    blank = animal.isna().to_numpy()
    if blank.any():
        raise ValueError(
            f"pedigree: row {int(np.flatnonzero(blank)[0]) + 1} has no animal in column {columns[0]!r}"
            " · allowed: a label in each row; missing, '', '0' and '.' stand for unknown parents only"
        )
    _check_repeats(animal, sire, dam)
    once = ~animal.duplicated().to_numpy()
    animal, sire, dam = animal[once], sire[once], dam[once]
    named = pd.concat([animal, sire.dropna(), dam.dropna()])
    animals = pd.Index(named.unique(), name=columns[0])
    places = [animals.get_indexer(pd.Index(p)) for p in (sire, dam)]  # missing: -1
    more = len(animals) - len(animal)
    sires, dams = (np.concatenate([p, np.full(more, -1)]).astype(np.intp) for p in places)
    _check_sexes(animals, sires, dams, selfing=selfing)
    return Parents(animals, sires, dams)


def shown(labels: Any, most: int = 5) -> str:
    """Labels for a message: the first few."""
    names = [repr(x) for x in list(labels)[: most + 1]]
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def _is_number(column: pd.Series[Any]) -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def _labels(column: pd.Series[Any], name: str, *, numbers: bool) -> pd.Series[Any]:
    """Integers where all three columns are numbers, else text; missing where the label is unknown."""
    if _is_number(column):
        values = pd.to_numeric(column).astype("Float64")
        off = (values != values.round()).fillna(False).to_numpy(dtype=bool)
        if off.any():
            raise ValueError(
                f"pedigree: {float(column[off].iloc[0]):g} in column {name!r} is not an animal · allowed: whole numbers or text"
            )
        whole = values.astype("Int64").mask((values == 0).fillna(False).to_numpy(dtype=bool))
        return whole if numbers else whole.astype("string").astype(object).where(whole.notna(), None)
    text = column.astype(object).where(column.notna(), "").map(_text)
    return text.where(~text.isin(UNKNOWN), None)


def _text(value: Any) -> str:
    """2.0 and 2 are one animal: a column with missing values turns whole numbers into floats."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def _check_repeats(animal: pd.Series[Any], sire: pd.Series[Any], dam: pd.Series[Any]) -> None:
    again = animal.duplicated(keep=False).to_numpy()
    if not again.any():
        return
    rows = pd.DataFrame({"animal": animal[again], "sire": sire[again], "dam": dam[again]})
    different = rows.drop_duplicates()
    twice = different.loc[different["animal"].duplicated(), "animal"].unique()
    if len(twice):
        raise ValueError(
            f"pedigree: {len(twice)} animals have several rows with different parents ({shown(twice)})"
            " · allowed: one row an animal, or rows that agree"
        )


def _check_sexes(animals: pd.Index, sire: Codes, dam: Codes, *, selfing: bool) -> None:
    own = np.arange(len(animals))
    itself = (sire == own) | (dam == own)
    if itself.any():
        raise ValueError(f"pedigree: animals that are their own parent ({shown(animals[itself])}) · correct these rows")
    both = np.intersect1d(sire[sire >= 0], dam[dam >= 0])
    if both.size and not selfing:
        raise ValueError(
            f"pedigree: {both.size} animals are both a sire and a dam ({shown(animals[both])}) · correct these rows;"
            " for plants, which may be both, give selfing=True"
        )
