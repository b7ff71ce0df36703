"""Vectors of elements that others have learned from text, and controls (slide 42).

    vectors = load("mat2vec")                     {"H": (200,), ...}: word vectors from abstracts of papers
    compound(vectors, "SiO2")                     the mean over the atoms of a formula

mat2vec learned which words stand near each other in abstracts of papers [tshitoyan2019mat2vec]. MatSciBERT is
a language model like MatBERT [trewartha2022matbert]; the archive holds what it begins with, the vectors of
single symbols before any context. The archive is the released package ElementEmbeddings (MIT), a source of
data only. MatBERT's own weights are in no package.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping

import numpy as np

from mg9.data.cache import Archive, member, obtain

ELEMENT_EMBEDDINGS = Archive(
    package="ElementEmbeddings",
    version="0.8.0",
    file="elementembeddings-0.8.0-py3-none-any.whl",
    sha256="7c35940337b1eec6ad0f6ebd83c7adb4b912863aa96eebff102d4536324f0170",
    size=3_834_657,
)
FILES = {"mat2vec": 200, "matscibert": 768, "random_200_new": 200}  # name: width


def load(name: str) -> dict[str, np.ndarray]:
    """Element symbol to vector (width,), without a unit.

    Errors: KeyError for an unknown name; FetchError, ChecksumError.
    """
    if name not in FILES:
        raise KeyError(f"no word vectors {name!r}; there are: {', '.join(FILES)}")
    content = member(obtain(ELEMENT_EMBEDDINGS), f"elementembeddings/data/element_representations/{name}.csv")
    _, *rows = csv.reader(io.StringIO(content.decode()))
    return {symbol: np.array(values, dtype=float) for symbol, *values in rows}


def compound(vectors: Mapping[str, np.ndarray], formula: str) -> np.ndarray:
    """The mean over the atoms of a formula, (width,): what the package calls a composition's embedding.

    Errors: KeyError with the element that has no vector.
    """
    from pymatgen.core import Composition

    shares = Composition(formula).fractional_composition.get_el_amt_dict()
    if lacks := sorted(shares.keys() - vectors.keys()):
        raise KeyError(f"{formula}: no vector of {', '.join(lacks)}")
    return sum(share * vectors[element] for element, share in shares.items())
