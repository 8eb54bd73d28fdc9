"""Relationships between levels for mmframe, from pedigrees, markers and phylogenies; heritability and reliability.

`pedigree`, `genomic` and `phylogeny` return objects whose `relationship()` goes to `mm.fit(..., relationship={factor: ...})`.
The package registers nothing: a relationship is passed by value or by file, so there is no entry point.
"""

__version__ = "0.1.0"

from mmframe_kinship.breeding import reliability
from mmframe_kinship.files import write
from mmframe_kinship.markers import Genomic, genomic
from mmframe_kinship.pedigrees import Pedigree, pedigree
from mmframe_kinship.shares import Heritability, heritability
from mmframe_kinship.trees import Phylogeny, phylogeny

__all__ = [
    "Genomic",
    "Heritability",
    "Pedigree",
    "Phylogeny",
    "genomic",
    "heritability",
    "pedigree",
    "phylogeny",
    "reliability",
    "write",
]
