"""Genomic relationships against VanRaden's (2008) formulas written out, and a known heritability."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mmframe_kinship import genomic, pedigree
from simulated import flock

import mmframe as mm


def draw(seed: int, n: int = 12, m: int = 40) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    counts = rng.binomial(2, rng.uniform(0.1, 0.9, m), (n, m))
    return pd.DataFrame(counts, index=[f"i{k}" for k in range(n)], columns=[f"m{j}" for j in range(m)])


def by_definition(M: np.ndarray, p: np.ndarray, method: str) -> np.ndarray:
    """Entry by entry, missing genotypes at their mean."""
    n, m = M.shape
    G = np.zeros((n, n))
    kept = [j for j in range(m) if 0 < p[j] < 1]
    for i in range(n):
        for k in range(n):
            for j in kept:
                a = 0.0 if np.isnan(M[i, j]) else M[i, j] - 2 * p[j]
                b = 0.0 if np.isnan(M[k, j]) else M[k, j] - 2 * p[j]
                G[i, k] += a * b if method == "vanraden1" else a * b / (2 * p[j] * (1 - p[j])) / len(kept)
    return G / sum(2 * p[j] * (1 - p[j]) for j in kept) if method == "vanraden1" else G


@pytest.mark.parametrize("method", ["vanraden1", "vanraden2"])
@pytest.mark.parametrize("given", [False, True])
def test_vanraden_by_definition(method: str, given: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmframe_kinship.markers._BLOCK", 100)  # several blocks of markers
    table = draw(1).astype(float)
    table.iloc[:, 5] = 2.0  # monomorphic
    table.iloc[3, 7] = table.iloc[0, 0] = np.nan
    M = table.to_numpy()
    p = np.random.default_rng(2).uniform(0.2, 0.8, M.shape[1]) if given else np.nanmean(M, axis=0) / 2
    found = genomic(table, method, frequencies=p if given else None)
    assert np.allclose(found.matrix, by_definition(M, p, method), atol=1e-12)
    assert found.missing == 2
    assert list(found.dropped) == ([] if given else ["m5"])
    assert ("(1 that do not vary were dropped)" in repr(found)) is not given
    assert list(found.matrix.index) == list(table.index)


def test_frequencies_by_name_are_put_in_order() -> None:
    table = draw(3)
    p = pd.Series(np.linspace(0.2, 0.8, 40), index=table.columns)
    assert np.allclose(genomic(table, frequencies=p[::-1]).matrix, genomic(table, frequencies=p.to_numpy()).matrix)
    with pytest.raises(ValueError, match="no frequency for 1 markers \\('m0'\\)"):
        genomic(table, frequencies=p.drop("m0"))


def test_a_centred_g_is_singular_and_blending_mends_it() -> None:
    table = draw(4)
    G = genomic(table)
    assert abs(np.linalg.eigvalsh(G.matrix)[0]) < 1e-12
    ridge = genomic(table, blend=0.05).matrix
    assert np.allclose(ridge, 0.95 * G.matrix + 0.05 * np.eye(12))
    parents = pedigree({"animal": table.index, "sire": ["s"] * 6 + ["t"] * 6, "dam": [""] * 12})
    A = 0.25 * np.kron(np.eye(2), np.ones((6, 6))) + 0.75 * np.eye(12)  # half sibs
    assert np.allclose(genomic(table, blend=0.2, toward=parents).matrix, 0.8 * G.matrix + 0.2 * A)
    same = genomic(table, blend=0.2, toward=parents.additive()).matrix
    assert np.allclose(same, 0.8 * G.matrix + 0.2 * A)


def test_files_and_text_labels(tmp_path: Path) -> None:
    table = draw(5)
    table.to_csv(tmp_path / "markers.csv", index_label="id")
    assert np.allclose(genomic(tmp_path / "markers.csv").matrix, genomic(table).matrix)


def test_expected_relationships_of_sibs() -> None:
    # parents unrelated: E(G) = A with the base population's frequencies; 20,000 unlinked markers have a standard error of about 0.01
    rng = np.random.default_rng(6)
    p = rng.uniform(0.1, 0.9, 20_000)
    parents = rng.binomial(2, p, (3, p.size))
    # a gamete holds the counted allele with half its parent's count
    calves = [rng.binomial(1, parents[s] / 2) + rng.binomial(1, parents[d] / 2) for s, d in [(0, 1), (0, 1), (0, 2)]]
    labels = ["s", "d1", "d2", "a", "b", "c"]
    G = genomic(pd.DataFrame([*parents, *calves], index=labels), frequencies=p).matrix
    table = {"animal": ["a", "b", "c"], "sire": ["s"] * 3, "dam": ["d1", "d1", "d2"]}
    A = pedigree(table).additive().loc[labels, labels]
    assert np.allclose(G, A, atol=0.05)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.replace(0, -1), "-1 at marker .* add 1"),
        (lambda t: t.astype(str).replace("0", "AA"), "are not numbers"),
        (lambda t: t * 0, "none of the 40 markers varies"),
        (lambda t: t.set_axis(["x", "x", *t.index[2:]]), "1 individuals have several rows \\('x'\\)"),
        (lambda t: t.iloc[:, :0], "shape"),
        (lambda t: "nowhere.csv", "no file"),
    ],
)
def test_errors(change: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        genomic(change(draw(7)))  # type: ignore[operator]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "yang"}, "allowed: 'vanraden1', 'vanraden2'"),
        ({"blend": 1.0}, "blend=1.0"),
        ({"toward": pedigree({"animal": ["x"], "sire": [""], "dam": [""]})}, "without blend="),
        (
            {"blend": 0.1, "toward": pedigree({"animal": ["x"], "sire": [""], "dam": [""]})},
            "lacks 12 of the individuals",
        ),
        ({"frequencies": [0.5]}, "shape \\(1,\\) for 40 markers"),
        ({"frequencies": np.full(40, 1.5)}, "off 0 to 1"),
        ({"frequencies": np.ones(40)}, "0 or 1 for markers that vary"),
    ],
)
def test_errors_of_options(options: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        genomic(draw(8), **options)  # type: ignore[arg-type]


def test_heritability_is_recovered_from_markers() -> None:
    """20 populations of sibs whose breeding values are sums over 400 markers: G's variance is σ²_a, h² = 0.5."""
    estimates, errors = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        p = rng.uniform(0.2, 0.8, 400)
        founders = rng.binomial(2, p, (40, 400))
        table = flock(rng, 2, 40, 10).iloc[40:]
        sire, dam = (np.repeat(table[c].to_numpy() - 1, 5) for c in ("sire", "dam"))
        M = rng.binomial(1, founders[sire] / 2) + rng.binomial(1, founders[dam] / 2)
        effects = rng.normal(size=400) / np.sqrt(np.sum(2 * p * (1 - p)))
        y = (M - 2 * p) @ effects + rng.normal(size=len(M))
        markers = pd.DataFrame(M, index=[f"a{k}" for k in range(len(M))])
        data = pd.DataFrame({"animal": markers.index, "y": y})
        K = genomic(markers, frequencies=p).relationship()
        fit = mm.fit("y ~ 1 + (1 | animal)", data, relationship={"animal": K})
        va = fit.covariance("animal").iloc[0, 0]
        estimates.append(va / (va + fit.sigma2))
        errors.append(fit.converged)
    assert all(errors)
    mean, error = np.mean(estimates), np.std(estimates, ddof=1) / np.sqrt(len(estimates))
    assert abs(mean - 0.5) < 3 * error and error < 0.05
