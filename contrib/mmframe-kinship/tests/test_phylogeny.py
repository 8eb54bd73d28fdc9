"""Phylogenies against trees worked by hand, and against paths from the root found one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mmframe_kinship import phylogeny

import mmframe as mm

# Worked by hand: A and B share 0.6, C and D 0.25, E nothing.
HAND = "(((A:0.4,B:0.4)ab:0.6,(C:0.75,D:0.5)cd:2.5E-1):0.0,E:1.2)root:3;"
BY_HAND = pd.DataFrame(
    [
        [1.0, 0.6, 0.0, 0.0, 0.0],
        [0.6, 1.0, 0.0, 0.0, 0.0],
        [0.0, 0.0, 1.0, 0.25, 0.0],
        [0.0, 0.0, 0.25, 0.75, 0.0],
        [0.0, 0.0, 0.0, 0.0, 1.2],
    ],
    index=list("ABCDE"),
    columns=list("ABCDE"),
)


def random_tree(rng: np.random.Generator, tips: int, *, ultrametric: bool = False) -> str:
    """Pairs are joined at random, now and then three."""
    trees = [(f"t{k}", 0.0) for k in range(tips)]
    now = 0.0
    while len(trees) > 1:
        now += rng.exponential()
        count = min(3 if rng.random() < 0.2 else 2, len(trees))
        chosen = [trees.pop(rng.integers(len(trees))) for _ in range(count)]
        lengths = [now - born if ultrametric else rng.exponential() for _, born in chosen]
        trees.append(("(" + ",".join(f"{t}:{x:.17g}" for (t, _), x in zip(chosen, lengths, strict=True)) + ")", now))
    return trees[0][0] + ";"


def by_paths(tree: object) -> pd.DataFrame:
    """The branches on the way from the root to each node, and the lengths of those that two share."""
    ways = []
    for k in range(len(tree.nodes)):
        way, at = set(), k
        while tree.parent[at] >= 0:
            way.add(at)
            at = tree.parent[at]
        ways.append(way)
    shared = [[sum(tree.length[b] for b in w & v) for v in ways] for w in ways]
    return pd.DataFrame(shared, index=tree.nodes, columns=tree.nodes)


def test_shared_branch_lengths_by_hand() -> None:
    tree = phylogeny(HAND)
    assert np.allclose(tree.covariance().loc[BY_HAND.index, BY_HAND.index], BY_HAND)
    assert list(tree.tips) == list("ABCDE") and not tree.ultrametric
    correlation = tree.covariance(correlation=True)
    assert np.isclose(correlation.loc["C", "D"], 0.25 / np.sqrt(0.75)) and np.allclose(np.diag(correlation), 1)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("ultrametric", [False, True])
def test_by_paths(seed: int, ultrametric: bool) -> None:
    tree = phylogeny(random_tree(np.random.default_rng(seed), 25, ultrametric=ultrametric))
    assert tree.ultrametric is ultrametric
    paths = by_paths(tree)
    assert np.allclose(tree.covariance(), paths.loc[tree.tips, tree.tips])
    found = tree.relationship()
    assert np.allclose(found.matrix @ paths.loc[found.levels, found.levels].to_numpy(), np.eye(found.size), atol=1e-8)
    assert found.matrix.nnz <= 3 * found.size  # a diagonal and the branches
    scaled = tree.relationship(correlation=True)
    K = np.linalg.inv(scaled.matrix.toarray())
    assert np.allclose(np.diag(K), 1)
    at = scaled.levels.get_indexer(tree.tips)
    assert np.allclose(K[np.ix_(at, at)], tree.covariance(correlation=True), atol=1e-8)


def test_branches_of_no_length_are_no_branches() -> None:
    tree = phylogeny("((A:0,B:1)x:2,((C:1,D:2)y:0,E:1)z:1);")
    found = tree.relationship()
    assert sorted(found.levels) == ["A", "B", "C", "D", "E", "z"]  # A is x, y is z
    at = found.levels.get_indexer(tree.tips)
    assert np.allclose(found.covariance[np.ix_(at, at)], tree.covariance())
    with pytest.raises(ValueError, match="no distance apart \\('A', 'B'\\)"):
        phylogeny("((A:0,B:0):1,C:1);").relationship()
    with pytest.raises(ValueError, match="tips at the root \\('A'\\)"):
        phylogeny("(A:0,(B:1,C:1):1);").relationship()
    assert np.linalg.matrix_rank(phylogeny("((A:0,B:0):1,C:1);").covariance()) == 2


def test_pagels_lambda() -> None:
    tree = phylogeny(random_tree(np.random.default_rng(8), 15))
    K = tree.covariance().to_numpy()
    for value in (0.0, 0.3, 1.0):
        expected = value * K + (1 - value) * np.diag(np.diag(K))
        assert np.allclose(tree.pagel(value).covariance(), expected)
        found = tree.pagel(value).relationship()
        at = found.levels.get_indexer(tree.tips)
        assert np.allclose(found.covariance[np.ix_(at, at)], expected)
    with pytest.raises(ValueError, match="λ=1\\.5"):
        tree.pagel(1.5)


def test_scaling() -> None:
    tree = phylogeny(HAND).scaled()
    assert np.isclose(tree.covariance().to_numpy().max(), 1.0) and np.isclose(tree.covariance().loc["A", "B"], 0.5)
    with pytest.raises(ValueError, match="height=0"):
        tree.scaled(0)


def test_labels_quotes_and_comments(tmp_path: Path) -> None:
    text = "[&R] ( 'Homo sapiens':1 [100],\n 'O''Brien (x)':1.5e0,\t(Pan_paniscus:+.5,b:5.E-1)95:0.5 )[end];\n"
    tree = phylogeny(text)
    assert list(tree.tips) == ["Homo sapiens", "O'Brien (x)", "Pan_paniscus", "b"]
    assert list(tree.nodes[~tree.tip]) == ["node1", "node2"]  # a support value is no name
    assert np.allclose(np.diag(tree.covariance()), [1, 1.5, 1, 1])
    (tmp_path / "tree.nwk").write_text(text, encoding="utf-8")
    assert list(phylogeny(tmp_path / "tree.nwk").nodes) == list(tree.nodes)
    assert list(phylogeny(str(tmp_path / "tree.nwk")).nodes) == list(tree.nodes)
    again = phylogeny("((A:1,B:1)node1:1,(C:1,D:1)x:1)x;")
    assert list(again.nodes[~again.tip]) == ["node2", "node1", "node3"]


def test_a_deep_ladder_is_no_recursion() -> None:
    depth = 20_000
    text = "(" * depth + "t0:1" + "".join(f",t{k}:1):1" for k in range(1, depth + 1)) + ";"
    tree = phylogeny(text)
    assert len(tree.tips) == depth + 1 and tree.relationship().size == 2 * depth
    assert tree.depths["t0"] == depth


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("(A:1,B:1)", "line 1, column 10: the end of the text .* ends in ';'"),
        ("((A:1,B:1);", "column 11: ';' .* parentheses are still open"),
        ("(A:1,B:1));", "column 10: '\\)' outside"),
        ("(A:1,\nB:x);", "line 2, column 3: 'x' .* a branch length"),
        ("(A:1,B:-1);", "column 8: the branch length -1 .* zero or more"),
        ("(A:1,B:1:2);", "column 9: ':'"),
        ("(A:1,,B:1);", "column 6: ',' where a label was due"),
        ("(A:1 C:2,B:1);", "column 6: 'C'"),
        ("(A b:1,B:1);", "column 4: 'b' .* quotes"),
        ("(A:1,'B:1);", "column 6: a quote that is not closed"),
        ("(A:1,[B:1);", "column 6: a comment that is not closed"),
        ("(A:1,B:1); (C:1,D:1);", "column 12: .* after the end of the tree"),
        ("(A:1,B);", "column 6: 'B' has no branch length, as 1 of the 2 branches"),
        ("(A,B);", "as 2 of the 2 branches"),
        ("(A:1,A:2);", "1 labels stand for several tips \\('A'\\)"),
        ("A;", "a tree of one tip"),
        ("(A:1)(B:1);", "column 6: '\\('"),
        ("(A:1,B:nan);", "'nan' .* a branch length"),
        ("nowhere.nwk", "no file 'nowhere.nwk'"),
    ],
)
def test_errors_say_where(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        phylogeny(text)


def test_the_inverse_and_the_dense_k_are_one_model() -> None:
    rng = np.random.default_rng(11)
    tree = phylogeny(random_tree(rng, 60, ultrametric=True)).scaled()
    K = tree.covariance()
    species = np.repeat(tree.tips, 3)
    values = pd.Series(np.linalg.cholesky(K) @ rng.normal(size=60), index=tree.tips)
    data = pd.DataFrame({"species": species, "x": rng.normal(size=180)})
    data["y"] = 1 + 0.5 * data["x"] + values[species].to_numpy() + 0.5 * rng.normal(size=180)
    formula = "y ~ x + (1 | species)"
    dense = mm.fit(formula, data, relationship={"species": K})
    sparse = mm.fit(formula, data, relationship={"species": tree.relationship()})
    assert abs(dense.loglike - sparse.loglike) < 1e-5
    effects = sparse.random_effects["species"]["Intercept"]
    assert np.allclose(effects[tree.tips], dense.random_effects["species"]["Intercept"][tree.tips], atol=1e-4)
