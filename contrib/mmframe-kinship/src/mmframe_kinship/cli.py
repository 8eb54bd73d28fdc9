"""`mmframe-kinship`: relationships from files to files, for specifications in YAML."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from mmframe_kinship import __version__
from mmframe_kinship.files import write
from mmframe_kinship.markers import METHODS, genomic
from mmframe_kinship.pedigrees import pedigree
from mmframe_kinship.trees import phylogeny

_SOURCE = click.Path(exists=True, dir_okay=False)
_TARGET = click.Path(dir_okay=False, writable=True)


@contextmanager
def _in_words() -> Iterator[None]:
    """What is wrong with the input is told without a traceback."""
    try:
        yield
    except ValueError as problem:
        raise click.ClickException(str(problem)) from None


@click.group()
@click.version_option(__version__, prog_name="mmframe-kinship")
def main() -> None:
    """Relationships for mmframe from pedigrees, markers and phylogenies."""


@main.command("pedigree")
@click.argument("source", type=_SOURCE)
@click.argument("target", type=_TARGET)
@click.option("--animal", default="animal", show_default=True, help="Column of the animals.")
@click.option("--sire", default="sire", show_default=True, help="Column of the sires.")
@click.option("--dam", default="dam", show_default=True, help="Column of the dams.")
@click.option("--selfing", is_flag=True, help="Plants: one may be both sire and dam.")
@click.option("--inbreeding", type=_TARGET, help="A file for the inbreeding coefficients.")
def pedigree_command(
    source: str, target: str, animal: str, sire: str, dam: str, selfing: bool, inbreeding: str | None
) -> None:
    """Write the sparse inverse of A of the pedigree in SOURCE to TARGET."""
    with _in_words():
        found = pedigree(source, animal, sire, dam, selfing=selfing)
        write(found.relationship(), target)
    if inbreeding is not None:
        found.inbreeding.to_csv(inbreeding, index_label=animal)
    click.echo(f"{found!r}, mean inbreeding {found.inbreeding.mean():.4f}")
    _say(target, inverse=True)


@main.command("genomic")
@click.argument("source", type=_SOURCE)
@click.argument("target", type=_TARGET)
@click.option("--method", type=click.Choice(METHODS), default=METHODS[0], show_default=True)
@click.option("--blend", type=float, default=0.0, show_default=True, help="Share of the identity, or of A.")
@click.option("--toward", type=_SOURCE, help="A pedigree (columns animal, sire, dam), whose A G is blended with.")
def genomic_command(source: str, target: str, method: str, blend: float, toward: str | None) -> None:
    """Write the genomic relationship of the markers in SOURCE (first column: labels) to TARGET."""
    with _in_words():
        found = genomic(source, method, blend=blend, toward=None if toward is None else pedigree(toward))
        write(found.relationship(), target)
    click.echo(repr(found))
    _say(target, inverse=False)


@main.command("phylogeny")
@click.argument("source", type=_SOURCE)
@click.argument("target", type=_TARGET)
@click.option("--correlation", is_flag=True, help="K_ii = 1 for every node.")
@click.option("--pagel", type=float, default=1.0, show_default=True, help="Pagel's lambda.")
def phylogeny_command(source: str, target: str, correlation: bool, pagel: float) -> None:
    """Write the sparse inverse over tips and nodes of the Newick tree in SOURCE to TARGET."""
    with _in_words():
        found = phylogeny(Path(source))
        write(found.pagel(pagel).relationship(correlation=correlation), target)
    click.echo(repr(found))
    _say(target, inverse=True)


def _say(target: str, *, inverse: bool) -> None:
    click.echo(f"in a specification: {{file: {target}, inverse: {str(inverse).lower()}}}")
