"""The command line and the files, as far as a fit from a specification in YAML."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import published
import pytest
from click.testing import CliRunner, Result
from mmframe_kinship import genomic, pedigree, phylogeny, write
from mmframe_kinship.cli import main

import mmframe as mm

SPEC = """
mmframe: 1
data: calves.csv
formula: gain ~ 0 + sex + (1 | animal)
fix: {{"sd(Intercept | animal)": 4.47213595499958, sigma: 6.324555320336759}}
relationship:
  animal: {{file: {file}, inverse: {inverse}}}
"""


def run(*words: object) -> Result:
    return CliRunner().invoke(main, [str(w) for w in words])


def test_from_a_pedigree_file_to_breeding_values(tmp_path: Path) -> None:
    published.CALVES.to_csv(tmp_path / "calves.csv", index=False)
    published.CALVES[["animal", "sire", "dam"]].to_csv(tmp_path / "ped.csv", index=False)
    made = run("pedigree", tmp_path / "ped.csv", tmp_path / "inverse.csv", "--inbreeding", tmp_path / "F.csv")
    assert made.exit_code == 0, made.output
    assert "8 animals, 3 of them founders" in made.output and "inverse: true" in made.output
    (tmp_path / "spec.yaml").write_text(SPEC.format(file="inverse.csv", inverse="true"), encoding="utf-8")
    effects = mm.fit_spec(tmp_path / "spec.yaml").random_effects["animal"]["Intercept"]
    assert np.allclose(effects.loc[range(1, 9)], published.BREEDING_VALUES, atol=1e-7)
    F = pd.read_csv(tmp_path / "F.csv")
    assert list(F.columns) == ["animal", "inbreeding"] and len(F) == 8


def test_genomic_files(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    table = pd.DataFrame(rng.binomial(2, 0.4, (5, 30)), index=[4, 5, 6, 7, 8])
    table.to_csv(tmp_path / "markers.csv", index_label="id")
    published.CALVES.to_csv(tmp_path / "ped.csv", index=False)
    words = ["--method", "vanraden2", "--blend", 0.1, "--toward", tmp_path / "ped.csv"]
    made = run("genomic", tmp_path / "markers.csv", tmp_path / "k.csv", *words)
    assert made.exit_code == 0, made.output
    expected = genomic(table, "vanraden2", blend=0.1, toward=pedigree(published.CALVES)).matrix
    read = mm.Relationship.read(tmp_path / "k.csv")
    assert list(read.levels) == [4, 5, 6, 7, 8] and np.allclose(read.matrix, expected, atol=1e-14)


def test_phylogeny_files(tmp_path: Path) -> None:
    (tmp_path / "tree.nwk").write_text("((A:1,B:1):1,(C:1,D:1):1);", encoding="utf-8")
    made = run("phylogeny", tmp_path / "tree.nwk", tmp_path / "inverse.csv", "--correlation", "--pagel", 0.5)
    assert made.exit_code == 0, made.output
    read = mm.Relationship.read(tmp_path / "inverse.csv", inverse=True)
    at = read.levels.get_indexer(list("ABCD"))
    K = 0.25 * np.kron(np.eye(2), np.ones((2, 2))) + 0.75 * np.eye(4)  # half of ½
    assert np.allclose(read.covariance[np.ix_(at, at)], K)


def test_what_is_wrong_is_told_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "ped.csv").write_text("animal,sire,dam\na,a,\n", encoding="utf-8")
    made = run("pedigree", tmp_path / "ped.csv", tmp_path / "out.csv")
    assert made.exit_code == 1 and "their own parent ('a')" in made.output
    assert not (tmp_path / "out.csv").exists()
    (tmp_path / "tree.nwk").write_text("(A:1,B:1)", encoding="utf-8")
    assert "column 10" in run("phylogeny", tmp_path / "tree.nwk", tmp_path / "out.csv").output
    assert run("pedigree", tmp_path / "none.csv", tmp_path / "out.csv").exit_code == 2


@pytest.mark.parametrize("selfing", [False, True])
def test_options_of_columns(tmp_path: Path, selfing: bool) -> None:
    (tmp_path / "ped.csv").write_text("line,mother,father\nb,a,a\n", encoding="utf-8")
    words = ["--animal", "line", "--sire", "father", "--dam", "mother", *(["--selfing"] if selfing else [])]
    made = run("pedigree", tmp_path / "ped.csv", tmp_path / "out.csv", *words)
    assert (made.exit_code == 0) is selfing
    if selfing:
        assert "mean inbreeding 0.2500" in made.output


def test_what_is_written_is_read(tmp_path: Path) -> None:
    for made in (pedigree(published.TABLE_2_1).relationship(), phylogeny("((A:1,B:1):1,C:1.5);").relationship()):
        write(made, tmp_path / "m.csv")
        read = mm.Relationship.read(tmp_path / "m.csv", inverse=True)
        at = read.levels.get_indexer(made.levels)
        assert np.array_equal(read.matrix.toarray()[np.ix_(at, at)], made.matrix.toarray())
