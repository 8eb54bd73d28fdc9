"""Published examples: Mrode, R. A. (2014), Linear Models for the Prediction of Animal Breeding Values, 3rd ed., CABI."""

from __future__ import annotations

import numpy as np
import pandas as pd
from mmframe_kinship import Pedigree, pedigree

import mmframe as mm

# Table 2.1, as listed again on p. 27: calf, sire, dam.
TABLE_2_1 = pd.DataFrame({"animal": [1, 2, 3, 4, 5, 6], "sire": [0, 0, 1, 1, 4, 5], "dam": [0, 0, 2, 0, 3, 2]})
# Section 2.3 (p. 25): A = TDT' of that pedigree; F of animal 5 is 0.125.
T_2_1 = np.array(
    [
        [1.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        [0.0, 1.0, 0.0, 0.0, 0.0, 0.0],
        [0.5, 0.5, 1.0, 0.0, 0.0, 0.0],
        [0.5, 0.0, 0.0, 1.0, 0.0, 0.0],
        [0.5, 0.25, 0.5, 0.5, 1.0, 0.0],
        [0.25, 0.625, 0.25, 0.25, 0.5, 1.0],
    ]
)
D_2_1 = np.array([1.0, 1.0, 0.5, 0.75, 0.5, 0.469])
# Section 2.6 (p. 32): A of animals 1, 4 and 5.
A_OF_SIRES = np.array([[1.0, 0.5, 0.5], [0.5, 1.0, 0.625], [0.5, 0.625, 1.125]])

# Example 3.1: pre-weaning gain (kg) of calves, variances 20 and 40.
CALVES = pd.DataFrame(
    {
        "animal": [4, 5, 6, 7, 8],
        "sex": ["male", "female", "female", "male", "male"],
        "sire": [1, 3, 1, 4, 3],
        "dam": [0, 2, 2, 5, 6],
        "gain": [4.5, 2.9, 3.9, 3.5, 5.0],
    }
)
# The solutions of p. 39, and the standard errors of prediction of p. 45, with all the digits that
# BLUPF90 prints for them: Masuda, Y. (2019), Introduction to BLUPF90 suite programs, "Numerical examples from Mrode (2014)".
SEXES = {"male": 4.35850233, "female": 3.40443010}
BREEDING_VALUES = [0.09844458, -0.01877010, -0.04108420, -0.00866312, -0.18573210, 0.17687209, -0.24945855, 0.18261469]
PREDICTION_ERRORS = [4.34094096, 4.43664612, 4.27297922, 4.13608585, 4.13814812, 4.20610397, 4.20407503, 4.11029997]

# Example 3.2, the sire model (p. 48): variances 5 and 55; digits as above.
SIRE_SEXES = {"male": 4.33567107, "female": 3.38198579}
SIRES = {1: 0.02200220, 3: 0.01402640, 4: -0.04304180}

# Example 4.1 (p. 64): the inverse of A of cows 1 to 8, and the parents that can be read off its entries.
COWS = pd.DataFrame({"animal": [4, 5, 6, 7, 8], "sire": [1, 3, 1, 3, 1], "dam": [2, 0, 5, 4, 7]})
A_INVERSE_OF_COWS = np.array(
    [
        [2.50, 0.50, 0.00, -1.00, 0.50, -1.00, 0.50, -1.00],
        [0.50, 1.50, 0.00, -1.00, 0.00, 0.00, 0.00, 0.00],
        [0.00, 0.00, 1.83, 0.50, -0.67, 0.00, -1.00, 0.00],
        [-1.00, -1.00, 0.50, 2.50, 0.00, 0.00, -1.00, 0.00],
        [0.50, 0.00, -0.67, 0.00, 1.83, -1.00, 0.00, 0.00],
        [-1.00, 0.00, 0.00, 0.00, -1.00, 2.00, 0.00, 0.00],
        [0.50, 0.00, -1.00, -1.00, 0.00, 0.00, 2.50, -1.00],
        [-1.00, 0.00, 0.00, 0.00, 0.00, 0.00, -1.00, 2.00],
    ]
)


def animal_model(**given: object) -> tuple[mm.FitResult, Pedigree]:
    """Example 3.1, fitted with the variances held."""
    calves = pedigree(CALVES)
    fix = {"sd(Intercept | animal)": 20**0.5, "sigma": 40**0.5}
    relationship = given.get("relationship", calves.relationship())
    return mm.fit("gain ~ 0 + sex + (1 | animal)", CALVES, relationship={"animal": relationship}, fix=fix), calves
