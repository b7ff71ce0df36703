"""Crystals and words in one space: texts, the loss written out, ranks by hand, and learning what was told."""

import csv
import io
import math

import numpy as np
import pytest
import torch
from pinned import pinned

from mg9 import data, splits
from mg9.a_crystal import crystal_graph
from mg9.a_graph import batch_graphs
from mg9.alignment import fit_aligned, vectors
from mg9.b_symmetry import permute, random_rotation, rotate, supercell
from mg9.d_cgcnn import CGCNN
from mg9.data import cache
from mg9.g_text import Aligned, BagOfWords, VectorReadout, Words, describe, ranks, words_of
from mg9.pretrained import words

TEXTS = [
    describe("SiO2", "P3_221", "oxide"),
    describe("NaCl", "Fm-3m", "halide"),
    describe("PmCl3", "Pm", "halide"),
]


# Words


def test_a_crystal_in_words():
    assert TEXTS[0] == "Si1 O2; AB2, space group P3_221, oxide"
    assert describe("Ca(MnSb)2", "P-3m1", "pnictide").startswith("Ca1 Mn2 Sb2; AB2C2,")
    assert words_of(TEXTS[0]) == ["Si", "O", "Si1", "O2", "AB2", "space", "group P3_221", "oxide"]
    assert words_of(describe("TiO2", "P4_2/mnm", "silicide or germanide"))[-4:] == [
        "group P4_2/mnm",
        *("silicide", "or", "germanide"),
    ]


def test_a_space_group_is_no_element():
    """Promethium is Pm, and so is a space group; with one word for both, one would speak for the other."""
    numbers = Words(TEXTS).numbers
    assert numbers["Pm"] != numbers["group Pm"]
    table = Words(TEXTS).table({"Pm": np.array([3.0, 4.0])}, width=2)
    assert table[numbers["Pm"]].tolist() == pytest.approx([0.6, 0.8])
    assert table[numbers["group Pm"]].tolist() != pytest.approx([0.6, 0.8])


def test_numbers_of_words_and_what_is_not_known():
    vocabulary = Words(TEXTS[:2])
    known, unknown = vocabulary(TEXTS[:1]), vocabulary(["Xe1; A, space group P1, intermetallic"])
    assert [word for n in known[0] for word, number in vocabulary.numbers.items() if number == n] == words_of(
        TEXTS[0]
    )
    assert unknown.tolist() == [
        [vocabulary.numbers["space"]],
    ]
    assert sorted(vocabulary.numbers.values()) == list(range(1, len(vocabulary) + 1))


def test_word_vectors_start_where_they_are_told():
    given = {"Si": np.array([1.0, 0.0]), "O": np.array([0.0, 1.0])}
    vocabulary = Words(TEXTS)
    table = vocabulary.table(given, width=2)
    assert not table[0].any()
    half = math.sqrt(0.5)  # the mean taken out, then of length one
    assert table[vocabulary.numbers["Si"]].tolist() == pytest.approx([half, -half])
    assert table[vocabulary.numbers["O"]].tolist() == pytest.approx([-half, half])
    wide = vocabulary.table({}, width=400)
    assert wide[1:].norm(dim=1).mean() == pytest.approx(1, abs=0.05)


def test_a_bag_has_no_order_and_no_length():
    start = torch.randn(5, 3)
    start[0] = 0
    bag = BagOfWords(start=start, features=4)
    one, other, longer = (bag(torch.tensor([row])) for row in ([1, 2, 4], [4, 1, 2], [1, 2, 4, 0, 0]))
    torch.testing.assert_close(one, other)
    torch.testing.assert_close(one, longer)
    expected = bag.layers(start[[1, 2, 4]].sum(dim=0) / math.sqrt(3))
    torch.testing.assert_close(one[0], expected)
    assert bag(torch.zeros(1, 2, dtype=torch.long)).isfinite().all()


# The loss


def small() -> Aligned:
    torch.manual_seed(0)
    vocabulary = Words(TEXTS)
    crystals = CGCNN(features=8, layers=1, readout=VectorReadout(features=8, vector=4))
    return Aligned(
        crystals=crystals,
        texts=BagOfWords(start=vocabulary.table({}, width=6), features=4),
    )


def test_the_loss_written_out():
    """Both directions by loops; texts 0 and 2 are the same, so both are right for both of their crystals."""
    torch.manual_seed(1)
    s, t = (torch.nn.functional.normalize(torch.randn(3, 4), dim=1) for _ in range(2))
    numbers, model = torch.tensor([[1, 2], [3, 0], [1, 2]]), small()
    tau, total = float(model.log_tau.detach().exp()), 0.0
    for a, b in ((s, t), (t, s)):
        for i in range(3):
            score = [math.exp(float(a[i] @ b[j]) / tau) for j in range(3)]
            right = [j for j in range(3) if numbers[i].equal(numbers[j])]
            total -= sum(math.log(score[j] / sum(score)) / len(right) for j in right) / 6
    assert float(model.loss_of(s, t, numbers).detach()) == pytest.approx(total, rel=1e-5)


def test_vectors_that_know_nothing_lose_log_B():
    one = torch.nn.functional.normalize(torch.ones(5, 4), dim=1)
    loss = small().loss_of(one, one, torch.arange(1, 6).unsqueeze(1))
    assert float(loss.detach()) == pytest.approx(math.log(5), rel=1e-5)


# Retrieval


def test_ranks_by_hand():
    library = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    query = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    right = torch.tensor([[True, False, False], [False, True, False], [True, False, True]])
    assert ranks(query, library, right).tolist() == [1, 3, 2]


@pytest.mark.parametrize("useless", [1.0, math.nan])
def test_a_space_of_one_point_is_worth_nothing(useless):
    """Where all vectors are one, or no numbers, the right entry is the last one."""
    one = torch.full((4, 2), useless)
    assert ranks(one, one, torch.eye(4, dtype=torch.bool)).tolist() == [4] * 4


# Learning


@pytest.fixture(scope="module")
def crystals():
    ds = data.formation_energy()
    ids = ds.table.index[ds.table.nsites <= 4][:16]
    found = ds.structures(ids)
    texts = [describe(ds.table.formula[name], f"number {k}", "crystal") for k, name in enumerate(ids)]
    return found, [crystal_graph(one) for one in found], texts


def learned(graphs, told, texts):
    """Ranks of the 16 texts by a model that was told `told` of the same crystals."""
    torch.manual_seed(0)
    vocabulary, every = Words(texts), np.arange(len(graphs))
    model = Aligned(
        crystals=CGCNN(layers=2, readout=VectorReadout()),
        texts=BagOfWords(start=vocabulary.table({}, width=32)),
    )
    split = splits.Split(every, every + 16, every + 32, "by heart")  # validated on what is learned
    fit_aligned(model, 3 * graphs, vocabulary(3 * told), split, epochs=60, batch_size=16, progress=False)
    s, t = vectors(model, graphs, vocabulary(texts), every)
    return ranks(s, t, torch.eye(16, dtype=torch.bool))


def test_it_learns_what_it_was_told(crystals):
    """By heart; and told each crystal another's text, it finds that one and not the right one."""
    _, graphs, texts = crystals
    assert (learned(graphs, texts, texts) == 1).all()
    assert (learned(graphs, texts[1:] + texts[:1], texts) == 1).sum() <= 4


def test_a_vector_keeps_the_symmetries(crystals):
    model = small().double().eval()
    for one in crystals[0][:4]:
        rng = np.random.default_rng(0)
        moved = [
            rotate(one, random_rotation(rng, reflect=True)),
            permute(one, rng.permutation(len(one))),
            supercell(one, [2, 1, 1]),
        ]
        with torch.no_grad():
            value, *others = (model.crystals(crystal_graph(x, dtype=torch.float64)) for x in [one, *moved])
        assert value.shape == (1, 4)
        for other in others:
            torch.testing.assert_close(other, value, rtol=0, atol=1e-9)


def test_batches_give_what_single_crystals_give(crystals):
    _, graphs, _ = crystals
    model = small().eval()
    with torch.no_grad():
        together = model.crystals(batch_graphs(graphs))
        alone = torch.cat([model.crystals(graph) for graph in graphs])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_as_many_texts_as_graphs(crystals):
    _, graphs, texts = crystals
    with pytest.raises(ValueError, match="15 texts for 16 graphs"):
        split = splits.random_split(16, validation=0.2, test=0.2)
        fit_aligned(small(), graphs, Words(texts)(texts[1:]), split)


# Word vectors from papers


@pytest.mark.parametrize("name", words.FILES)
def test_vectors_are_those_of_the_archive(name):
    archive = pinned(words.ELEMENT_EMBEDDINGS)
    found = words.load(name)
    text = cache.member(archive, f"elementembeddings/data/element_representations/{name}.csv").decode()
    last = list(csv.reader(io.StringIO(text)))[-1]
    assert {one.shape for one in found.values()} == {(words.FILES[name],)}
    assert found[last[0]].tolist() == [float(x) for x in last[1:]]
    assert {"H", "O", "Fe", "U"} <= found.keys()


def test_elements_of_a_group_are_neighbours_in_mat2vec():
    pinned(words.ELEMENT_EMBEDDINGS)
    found = words.load("mat2vec")
    names = list(found)
    table = np.array(list(found.values()))
    table = table / np.linalg.norm(table, axis=1, keepdims=True)
    likeness = table @ table.T - 2 * np.eye(len(names))
    nearest = {name: names[k] for name, k in zip(names, likeness.argmax(axis=1), strict=True)}
    assert [nearest[one] for one in ("Cl", "Li", "Si", "Fe", "Au")] == ["Br", "Na", "Ge", "Co", "Ag"]


def test_a_compound_is_the_mean_over_its_atoms():
    table = {"Si": np.array([3.0, 0.0]), "O": np.array([0.0, 3.0])}
    np.testing.assert_allclose(words.compound(table, "SiO2"), [1, 2])
    np.testing.assert_allclose(words.compound(table, "Si2O4"), [1, 2])
    with pytest.raises(KeyError, match="no vector of Xe"):
        words.compound(table, "XeO3")
    with pytest.raises(KeyError, match="no word vectors 'bert'"):
        words.load("bert")
