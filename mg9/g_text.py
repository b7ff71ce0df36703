"""Crystals and words in one space: a small contrastive model of structure and text (slide 42).

    s_i = network(crystal_i) / |...|        t_i = MLP(mean of the vectors of its words) / |...|      (F,) each
    p_ij = softmax_j(s_i . t_j / tau)       which of the B texts belongs to crystal i
    p'_ij = softmax_j(t_i . s_j / tau)      which of the B crystals belongs to text i
    loss = -(1 / 2B) sum_i (log p_ii + log p'_ii)

The slide aligns pictures with crystals, CLIP pictures with words; here crystals meet words. Nobody says what
a vector should be: it only has to be nearer to its partner than the partners of the rest of the batch are.

Paper: Radford and others, ICML (2021) [radford2021clip], for the loss; for word vectors learned from papers,
Tshitoyan and others, Nature 571, 95 (2019) [tshitoyan2019mat2vec].
Read in order: `describe`, `Words`, `BagOfWords`, `VectorReadout`, `Aligned` (its loss), `ranks`.
Differs from the paper: texts are bags of words, not read by a transformer; crystals, not pictures; two
crystals of a batch with the same text are both right for it, and share the target.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from mg9.a_graph import sum_over_crystals

if TYPE_CHECKING:
    from torch_geometric.data import Batch, Data

WORD = re.compile(r"group \S+?(?=,|$)|[^\s,;]+")  # a space group is no element: Pm, Cm
AMOUNT = re.compile(r"[\d.]+$")


def describe(formula: str, space_group: str, family: str) -> str:
    """ "Si1 O2; AB2, space group P3_221, oxide": a crystal in words (slide 42).

    formula: in any spelling; space_group: its international symbol; family: as of `groups.chemistry_family`.
    """
    from pymatgen.core import Composition

    composition = Composition(formula).reduced_composition
    return f"{composition.formula}; {composition.anonymized_formula}, space group {space_group}, {family}"


def words_of(text: str) -> list[str]:
    """The words of a text of `describe`; the formula gives "Si", "O", and "Si1", "O2" (slide 42)."""
    formula, _, rest = text.partition(";")
    return [AMOUNT.sub("", piece) for piece in formula.split()] + formula.split() + WORD.findall(rest)


class Words:
    """The vocabulary of some texts: a number for each word, 0 for every other (slide 42)."""

    def __init__(self, texts: Sequence[str]) -> None:
        found = sorted({word for text in texts for word in words_of(text)})
        self.numbers = {word: number for number, word in enumerate(found, start=1)}

    def __len__(self) -> int:
        return len(self.numbers)

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """(B, L): the words of each text by number, filled up with 0; an unknown word is left out."""
        rows = [[self.numbers[w] for w in words_of(text) if w in self.numbers] for text in texts]
        numbers = torch.zeros(len(rows), max(map(len, rows), default=0), dtype=torch.long)
        for place, own in enumerate(rows):
            numbers[place, : len(own)] = torch.tensor(own, dtype=torch.long)
        return numbers

    def table(self, vectors: Mapping[str, np.ndarray], *, width: int, seed: int = 0) -> Tensor:
        """(len + 1, width): where a word has a vector, that one minus their mean, over their mean length;
        random vectors of about length one elsewhere; row 0 is zero."""
        generator = torch.Generator().manual_seed(seed)
        table = torch.randn(len(self) + 1, width, generator=generator) / width**0.5
        table[0] = 0
        known = [word for word in self.numbers if word in vectors]
        if known:
            own = torch.tensor(np.array([vectors[word] for word in known]), dtype=table.dtype)
            own = own - own.mean(dim=0) * (len(known) > 1)
            table[[self.numbers[word] for word in known]] = own / own.norm(dim=1).mean()
        return table


class BagOfWords(nn.Module):
    """Texts as means of word vectors, then an MLP (slide 42); forward: numbers (B, L), 0 for no word, to
    (B, F). start: the word vectors (words + 1, width) of `Words.table`, which training moves on."""

    def __init__(self, *, start: Tensor, features: int = 64, hidden: int = 128) -> None:
        super().__init__()
        self.vectors = nn.Embedding.from_pretrained(start.clone(), freeze=False, padding_idx=0)
        self.layers = nn.Sequential(nn.Linear(start.size(1), hidden), nn.SiLU(), nn.Linear(hidden, features))

    def forward(self, numbers: Tensor) -> Tensor:
        there = (numbers > 0).sum(dim=1, keepdim=True).clamp(min=1)
        return self.layers(self.vectors(numbers).sum(dim=1) / there**0.5)


class VectorReadout(nn.Module):
    """A readout that keeps a vector (slide 42): the mean over the atoms, then an MLP; v (N, F), batch (N,) to
    (B, vector)."""

    def __init__(self, *, features: int = 64, vector: int = 64, hidden: int = 128) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(features), nn.Linear(features, hidden), nn.SiLU(), nn.Linear(hidden, vector)
        )

    def forward(self, v: Tensor, batch: Tensor, n_crystals: int) -> Tensor:
        atoms = torch.bincount(batch, minlength=n_crystals)[:, None]
        return self.layers(sum_over_crystals(v, batch, n_crystals) / atoms)


class Aligned(nn.Module):
    """Two networks that meet in one space (slide 42) [radford2021clip].

    crystals: graphs to (B, F), such as a CGCNN with `VectorReadout`; texts: word numbers to (B, F).
    forward: a batch of graphs and numbers (B, L) to s and t, (B, F) each, of length one.
    """

    def __init__(self, *, crystals: nn.Module, texts: nn.Module, tau: float = 0.1) -> None:
        super().__init__()
        self.crystals, self.texts = crystals, texts
        self.log_tau = nn.Parameter(torch.tensor(tau).log())

    def forward(self, graph: Data | Batch, numbers: Tensor) -> tuple[Tensor, Tensor]:
        return normalize(self.crystals(graph), dim=1), normalize(self.texts(numbers), dim=1)

    def loss(self, graph: Data | Batch, numbers: Tensor) -> Tensor:
        """The mean of both cross entropies; log B for vectors that know nothing."""
        return self.loss_of(*self(graph, numbers), numbers)

    def loss_of(self, s: Tensor, t: Tensor, numbers: Tensor) -> Tensor:
        """The loss of vectors s and t, (B, F) each; texts of the same words are right for each other."""
        score = s @ t.T / self.log_tau.exp()  # (B, B)
        same = (numbers.unsqueeze(0) == numbers.unsqueeze(1)).all(dim=2).to(score.dtype)
        target = same / same.sum(dim=1, keepdim=True)
        return sum(nn.functional.cross_entropy(x, target) for x in (score, score.T)) / 2


def ranks(query: Tensor, library: Tensor, right: Tensor) -> Tensor:
    """(B,): at which place each query finds a right entry of the library; 1 is the first (slide 42).

    query (B, F), library (M, F), right (B, M) true where an entry is right; every query has one. Entries
    that are as near as the right one, but wrong, stand before it: a space where all is one point is worth
    nothing.
    """
    score = query @ library.T
    best = score.masked_fill(~right, -torch.inf).amax(dim=1, keepdim=True)
    return (~(score < best) & ~right).sum(dim=1) + 1
