"""Pedigrees against published matrices, and against Wright's tabular method written out here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import published
import pytest
from mmframe_kinship import Pedigree, pedigree
from mmframe_kinship.inbreeding import inbreeding
from simulated import flock


def wright(table: pd.DataFrame) -> pd.DataFrame:
    """A by the tabular method, from a sorted table of numbers 1, 2, ... with 0 for unknown parents."""
    n = len(table)
    A = np.zeros((n + 1, n + 1))
    for i, s, d in table.itertuples(index=False):
        for j in range(1, i):
            A[i, j] = A[j, i] = (A[j, s] + A[j, d]) / 2
        A[i, i] = 1 + A[s, d] / 2
    labels = table["animal"].to_numpy()
    return pd.DataFrame(A[1:, 1:], index=labels, columns=labels)


def test_a_of_mrodes_table() -> None:
    found = pedigree(published.TABLE_2_1)
    order = range(1, 7)
    A = found.additive().loc[order, order].to_numpy()
    assert np.allclose(A, published.T_2_1 @ np.diag(published.D_2_1) @ published.T_2_1.T, atol=5e-4)  # D to 3 digits
    assert np.array_equal(found.additive([1, 4, 5]).to_numpy(), published.A_OF_SIRES)
    assert found.inbreeding[5] == 0.125
    assert np.allclose(found.mendelian.loc[list(order)], published.D_2_1, atol=5e-4)


def test_henderson_s_inverse_of_mrodes_cows() -> None:
    found = pedigree(published.COWS).relationship()
    inverse = pd.DataFrame(found.matrix.toarray(), index=found.levels, columns=found.levels)
    order = range(1, 9)
    assert np.allclose(inverse.loc[order, order], published.A_INVERSE_OF_COWS, atol=5e-3)  # to 2 digits
    assert found.inverse


@pytest.mark.parametrize("way", ["rows", "columns", None])
@pytest.mark.parametrize(
    ("generations", "size", "sires", "overlapping", "unknown"),
    [(8, 30, 2, False, 0.0), (6, 40, 20, True, 0.1), (12, 12, 2, True, 0.05), (3, 50, 5, False, 0.3)],
)
def test_inbreeding_is_wrights(
    way: str | None, generations: int, size: int, sires: int, overlapping: bool, unknown: float
) -> None:
    table = flock(np.random.default_rng(size), generations, size, sires, overlapping=overlapping, unknown=unknown)
    found = pedigree(table)
    A = wright(table)
    F = pd.Series(inbreeding(found.sire, found.dam, found.generations, way), index=found.animals)
    assert np.allclose(F.loc[A.index], np.diag(A) - 1, atol=1e-12)
    assert F.max() > 0.01


def test_inbreeding_over_many_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmframe_kinship.inbreeding._ENTRIES", 300)
    monkeypatch.setattr("mmframe_kinship.inbreeding._FIRST", 3)
    table = flock(np.random.default_rng(1), 10, 20, 3)
    found = pedigree(table)
    expected = pd.Series(np.diag(wright(table)) - 1, index=table["animal"]).loc[found.animals]
    for way in ("rows", "columns"):
        assert np.allclose(inbreeding(found.sire, found.dam, found.generations, way), expected, atol=1e-12)


def test_the_inverse_is_that_of_wrights_a() -> None:
    table = flock(np.random.default_rng(4), 7, 25, 3, unknown=0.1)
    shuffled = table.sample(frac=1, random_state=2)
    found = pedigree(shuffled)
    A = wright(table).loc[found.animals, found.animals]
    assert np.allclose(found.relationship().matrix @ A.to_numpy(), np.eye(len(A)), atol=1e-10)
    assert np.allclose(found.additive(), A, atol=1e-12)
    assert np.all(found.sire < np.arange(len(found))) and np.all(found.dam < np.arange(len(found)))


def test_full_sib_mating_has_its_known_series() -> None:
    # Wright (1921, Genetics 6:124-143): F_t = (1 + 2F_{t-1} + F_{t-2})/4, 0, 0.25, 0.375, 0.5, 0.59375, ...
    rows = [("m0", "", ""), ("f0", "", "")]
    rows += [(f"{sex}{t}", f"m{t - 1}", f"f{t - 1}") for t in range(1, 9) for sex in "mf"]
    found = pedigree(pd.DataFrame(rows, columns=["animal", "sire", "dam"]))
    series = [0.0, 0.0]
    for _ in range(7):
        series.append((1 + 2 * series[-1] + series[-2]) / 4)
    assert np.allclose([found.inbreeding[f"m{t}"] for t in range(9)], series)
    assert np.allclose(series[2:6], [0.25, 0.375, 0.5, 0.59375])


def test_selfing_halves_heterozygosity() -> None:
    rows = [("line0", ".", ".")] + [(f"line{t}", f"line{t - 1}", f"line{t - 1}") for t in range(1, 7)]
    table = pd.DataFrame(rows, columns=["animal", "sire", "dam"])
    found = pedigree(table, selfing=True)
    assert np.allclose(found.inbreeding, 1 - 0.5 ** np.arange(7))  # Wright 1921
    for way in ("rows", "columns"):
        assert np.allclose(inbreeding(found.sire, found.dam, found.generations, way), 1 - 0.5 ** np.arange(7))
    A = found.additive()
    assert np.allclose(found.relationship().matrix @ A.to_numpy(), np.eye(7), atol=1e-9)
    with pytest.raises(ValueError, match=r"6 animals are both a sire and a dam .*selfing=True"):
        pedigree(table)


def test_unknown_parents_in_every_guise(tmp_path: Path) -> None:
    text = "id,father,mother\nc,a,b\nd,a,\ne,.,b\nf,0,0\n"
    (tmp_path / "ped.csv").write_text(text, encoding="utf-8")
    found = pedigree(tmp_path / "ped.csv", "id", "father", "mother")
    assert sorted(found.animals) == list("abcdef")
    assert found.inbreeding.index.name == "id"
    frames = [
        pd.DataFrame({"animal": [3, 4, 5, 6], "sire": [1, 1, None, 0], "dam": [2, None, 2, 0]}),
        {"animal": [3, 4, 5, 6], "sire": [1.0, 1.0, np.nan, 0.0], "dam": [2, 0, 2, 0]},
        pd.DataFrame({"animal": [3, 4, 5, 6], "sire": [1, 1, None, None], "dam": [2, None, 2, None]}, dtype="Int64"),
    ]
    for frame in frames:
        numbers = pedigree(frame)
        assert sorted(numbers.animals) == [1, 2, 3, 4, 5, 6]
        assert numbers.additive().loc[4, 3] == 0.25 and numbers.additive().loc[3, 5] == 0.25
    mixed = pedigree({"animal": ["3", "4"], "sire": [1.0, np.nan], "dam": [None, "2"]})
    assert sorted(mixed.animals) == ["1", "2", "3", "4"]


def test_rows_that_agree_are_one() -> None:
    table = pd.concat([published.TABLE_2_1, published.TABLE_2_1.iloc[[4]]])
    assert len(pedigree(table)) == 6


def test_an_extract_is_the_same_where_it_is() -> None:
    table = flock(np.random.default_rng(9), 6, 20, 3)
    found = pedigree(table)
    some = table["animal"].iloc[-5:].tolist()
    part = found.ancestors_of(some)
    assert len(part) < len(found)
    assert np.allclose(part.inbreeding, found.inbreeding[part.animals])
    assert np.allclose(part.additive(some), found.additive().loc[some, some])
    with pytest.raises(ValueError, match="lacks 1 of the animals asked for \\(999\\)"):
        found.ancestors_of([1, 999])


def test_a_deep_line_is_no_recursion() -> None:
    n = 3000
    found = pedigree({"animal": np.arange(2, n), "sire": np.arange(1, n - 1), "dam": np.zeros(n - 2, dtype=int)})
    assert found.generations[-1] == n - 2 and not found.inbreeding.any()


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"animal": ["a", "b"], "sire": ["a", ""], "dam": ["", ""]}, "are their own parent \\('a'\\)"),
        (
            {"animal": ["a", "b", "c"], "sire": ["b", "c", "a"], "dam": ["", "", ""]},
            "its own ancestor: 'a' is an offspring of 'b' is an offspring of 'c' is an offspring of 'a'",
        ),
        ({"animal": ["a", "a"], "sire": ["b", "c"], "dam": ["", ""]}, "several rows with different parents \\('a'\\)"),
        ({"animal": ["a", "b"], "sire": ["p", "q"], "dam": ["q", ""]}, "both a sire and a dam \\('q'\\)"),
        ({"animal": ["a", ""], "sire": ["b", "c"], "dam": ["", ""]}, "row 2 has no animal"),
        ({"animal": [1, 2], "sire": [0.5, 0], "dam": [0, 0]}, "0.5 in column 'sire' is not an animal"),
        ({"animal": [1, 2], "father": [0, 0], "dam": [0, 0]}, "no column 'sire' .* animal, father, dam"),
        ({"animal": [], "sire": [], "dam": []}, "no rows"),
        ([1, 2], "given a list"),
        ("nowhere.csv", "no file 'nowhere.csv'"),
    ],
)
def test_errors_name_the_animals(table: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        pedigree(table)


def test_repr_says_what_it_is() -> None:
    assert repr(pedigree(published.CALVES)) == "<Pedigree: 8 animals, 3 of them founders, 2 generations after them>"
    assert isinstance(pedigree(published.CALVES), Pedigree)
