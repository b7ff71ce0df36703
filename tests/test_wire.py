"""What crosses comes out as it went in, what may not cross is refused in words, and junk harms nobody."""

import pickle
from collections import Counter, OrderedDict, defaultdict
from functools import reduce

import hypothesis.extra.numpy as arrays
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Data

from mg9.checks import wire
from mg9.checks.wire import CannotCross, Handle, decode, encode

PLAIN = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"]))
)
DTYPES = st.sampled_from(sorted(wire.ARRAYS))
ARRAYS = DTYPES.flatmap(
    lambda name: arrays.arrays(name, arrays.array_shapes(min_dims=0, min_side=0, max_side=4))
)
TENSORS = ARRAYS.filter(lambda a: a.dtype.name not in ("uint16", "uint32", "uint64")).map(torch.from_numpy)
KEYS = st.none() | st.booleans() | st.integers() | st.text("abc") | st.floats(allow_nan=False)
VALUES = st.recursive(
    PLAIN | ARRAYS | TENSORS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=4)
    ),
    max_leaves=12,
)


def same(one, other) -> bool:
    """Equal, of exactly the same types all the way down, and NaN equal to NaN."""
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and same(one.numpy(), other.numpy())
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(map(same, one.values(), other.values()))
    return one == other or (one != one and other != other)


def through_json(tree):
    """As Jupyter's messages carry it."""
    from jupyter_client.session import json_packer, json_unpacker

    return json_unpacker(json_packer(tree))


@settings(max_examples=150, deadline=None)
@given(VALUES)
def test_what_goes_in_comes_out(value):
    tree, buffers = encode(value)
    assert same(decode(through_json(tree), buffers), value)


def test_graphs_text_arrays_and_half_precision():
    graph = Data(z=torch.tensor([3, 8]), edge_index=torch.tensor([[0], [1]]), name="LiO", batch=None)
    again = decode(*encode(graph))
    assert type(again) is Data and torch.equal(again.z, graph.z) and again.name == "LiO"
    words = np.array([["oxide", "ß"], ["", "halide"]])
    assert same(decode(*encode(words)), words)
    half = torch.tensor([1.0, -2.5]).bfloat16()
    assert torch.equal(decode(*encode(half)), half)
    assert same(decode(*encode(np.float32(0.5))), 0.5) and same(decode(*encode(np.str_("a"))), "a")
    parameter = torch.nn.Parameter(torch.ones(2))
    assert type(decode(*encode(parameter))) is torch.Tensor
    for kind in (OrderedDict, Counter, lambda pairs: defaultdict(int, pairs)):
        assert same(decode(*encode(kind({"a": 1}))), {"a": 1})


class FloatOfSorts(float):
    def __sub__(self, other):
        return 0.0


class TensorOfSorts(torch.Tensor):
    pass


class ArrayOfSorts(np.ndarray):
    pass


class TextOfSorts(str):
    pass


REFUSED = {
    "a table": (pd.DataFrame({"a": [1]}), "a pandas DataFrame may not cross.*to_numpy"),
    "a series": (pd.Series([1.0]), "a pandas Series may not cross.*to_numpy"),
    "a set": ({1, 2}, "a set may not cross.*sorted list"),
    "a float subclass": (FloatOfSorts(1), "a FloatOfSorts may not cross"),
    "a text subclass": (TextOfSorts("a"), "a TextOfSorts may not cross"),
    "a tensor subclass": (torch.ones(2).as_subclass(TensorOfSorts), "a TensorOfSorts may not cross"),
    "an array subclass": (np.ones(2).view(ArrayOfSorts), "an ArrayOfSorts may not cross"),
    "a masked array": (np.ma.masked_array([1.0]), "a MaskedArray may not cross"),
    "objects in an array": (np.array([{}, None]), "an array of object may not cross"),
    "a sparse tensor": (torch.eye(2).to_sparse(), "sparse.* may not cross"),
    "a module": (torch.nn.Linear(1, 1), "may not cross"),
    "a function": (len, "may not cross"),
    "bytes": (b"abc", "a bytes may not cross"),
    "an object as key": ({(1, 2): 3}, "with tuple as key"),
    "too deep": (reduce(lambda inner, _: [inner], range(30), 1), "20 deep"),
    "too many": ([0] * 300_000, "more than 200,000 values"),
    "too large": (torch.zeros(10_000_000, dtype=torch.float64), "more than 64 MB"),
    "a long text": ("x" * 2_000_000, "may not cross"),
    "a lazy copy of itself": (torch.zeros(1).expand(10**9), "more than 64 MB"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_may_not_cross_is_refused_in_words(case):
    value, words = REFUSED[case]
    with pytest.raises(CannotCross, match=words):
        encode(value)
    with pytest.raises(CannotCross, match=words):
        encode((1, {"a": value}))


def test_what_can_be_called_stays_and_its_handle_comes_back():
    kept = []

    def keep(thing):
        kept.append(thing)
        return Handle(len(kept) - 1, "len")

    tree, buffers = encode([len], keep)
    assert decode(tree, buffers) == [Handle(0, "len")]
    assert decode(tree, buffers, lambda handle: kept[handle.number]) == [len]


class Trap:
    """Unpickling it would be noticed."""

    sprung = False

    def __reduce__(self):
        return setattr, (Trap, "sprung", True)


JUNK = {
    "an unknown tag": (["x", 1], []),
    "a pickle as a buffer": (["p", 0], [pickle.dumps(Trap())]),
    "a dictionary that names a class": ({"@module": "os", "@class": "system"}, []),
    "an array of objects": (["a", "object", [1], 0], [b"\0" * 8]),
    "a type that is a list": (["a", ["float64"], [1], 0], [b"\0" * 8]),
    "no such buffer": (["T", "float64", [1], 7], []),
    "another size": (["T", "float64", [2], 0], [b"\0" * 8]),
    "a negative shape": (["a", "float64", [-1], 0], [b"\0" * 8]),
    "a huge shape": (["a", "float64", [2**62, 2**62], 0], [b"\0" * 8]),
    "a shape of floats": (["a", "float64", [1.0], 0], [b"\0" * 8]),
    "a float that is code": (["f", "__import__('os')"], []),
    "a bare float": (0.5, []),
    "a tensor as key": (["d", [["T", "bool", [], 0], 1]], [b"\0"]),
    "half a pair": (["d", [1]], []),
    "a graph with a private field": (["g", ["_store", 1]], []),
    "a graph with a strange field": (["g", ["a b", 1]], []),
    "a handle of text": (["h", "0", "f"], []),
    "text that pads to gigabytes": (["u", [60_000], ["x" * 999_000, *["" for _ in range(59_999)]]], []),
    "nothing": ([], []),
    "deep": (reduce(lambda inner, _: ["l", inner], range(500), 1), []),
}


@pytest.mark.parametrize("case", JUNK)
def test_junk_is_refused_and_nothing_is_run(case):
    tree, buffers = JUNK[case]
    with pytest.raises(CannotCross):
        decode(tree, buffers)
    assert not Trap.sprung


def test_bytes_that_are_no_truth_values_become_such():
    value = decode(["a", "bool", [3], 0], [b"\x00\x02\xff"])
    assert value.tobytes() == b"\x00\x01\x01"


TREES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([*"ftldaTugh", "float64", "bool", "0x1p+0"]),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text("ab"), inner, max_size=2),
    max_leaves=15,
)


@settings(max_examples=300, deadline=None)
@given(TREES, st.lists(st.binary(max_size=16), max_size=2))
def test_whatever_arrives_is_a_plain_value_or_refused(tree, buffers):
    try:
        value = decode(tree, buffers)
    except CannotCross:
        return
    encode(value)  # nothing that could not have been sent
