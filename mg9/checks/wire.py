"""How values cross between a check and a student's code: as plain data, never as live objects.

`encode` turns a value into a tree of JSON and a list of raw buffers; `decode` builds the value anew and
believes nothing. What may cross: None, numbers, text, NumPy arrays and tensors of the listed types, tuples,
lists and dictionaries of these, and PyTorch Geometric's `Data`. A function, class or module stays where it
is; a `Handle` goes in its place. Everything else is refused in words (`CannotCross`). Nothing is unpickled,
and nothing is imported because the other side names it.

Read in order: `Handle`, the tables of types, `encode`, `decode`.

    None, True, "text", 7      as themselves          ["f", "0x1.8p+0"]              a float
    ["t", ...] ["l", ...]      tuple, list            ["d", [key, value], ...]       dictionary
    ["a", dtype, shape, k]     array in buffer k      ["T", dtype, shape, k]         tensor in buffer k
    ["u", shape, [...]]        array of text          ["g", [name, value], ...]      Data
    ["h", number, title]       handle
"""

from __future__ import annotations

import math
import sys
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

MOST_BYTES, MOST_ITEMS, MOST_DEPTH, LONGEST_TEXT = 64_000_000, 200_000, 20, 1_000_000
ARRAYS = {f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)}
ARRAYS |= {"bool", "float16", "float32", "float64", "complex64", "complex128"}
TENSORS = ARRAYS | {"bfloat16"}
KEYS = (str, int, float, bool, type(None))
DICTS = (dict, OrderedDict, defaultdict, Counter)
HINTS = {
    "DataFrame": "return a tensor or an array: .to_numpy()",
    "Series": "return a tensor or an array: .to_numpy()",
    "set": "return a sorted list",
    "generator": "return a list",
    "Structure": "return its arrays",
}
USUAL = "return numbers, text, arrays, tensors, or tuples, lists and dictionaries of these"


class CannotCross(ValueError):
    """A value that may not cross, with what to return instead; or data that are no encoded value."""


@dataclass(frozen=True)
class Handle:
    """A function, class or module that stays in the student's process."""

    number: int
    title: str


def encode(value: Any, keep: Callable[[Any], Handle] | None = None) -> tuple[Any, list[bytes]]:
    """(tree, buffers) of a value. `keep` gives out a handle for what can be called; without it, that is
    refused. Raises `CannotCross`."""
    writer = _Writer(keep)
    return writer.node(value, 0), writer.buffers


def decode(tree: Any, buffers: Sequence[Any] = (), fetch: Callable[[Handle], Any] | None = None) -> Any:
    """The value of (tree, buffers), in memory of its own. `fetch` exchanges handles for their objects.

    Raises `CannotCross` for whatever `encode` would not have written.
    """
    reader = _Reader(buffers, fetch)
    return reader.value(tree, 0)


def refusal(value: Any) -> str:
    """Why a value may not cross, and what to return instead."""
    kind = type(value)
    package = (getattr(kind, "__module__", None) or "").partition(".")[0]
    known = {"pandas": "pandas ", "pymatgen": "pymatgen ", "torch": "torch "}.get(package, "")
    name = f"{known}{kind.__name__}"[:80]
    return f"{'an' if name[:1] in 'aeiouAEIOU' else 'a'} {name} may not cross to the grader: " + HINTS.get(
        kind.__name__, USUAL
    )


class _Limits:
    def __init__(self) -> None:
        self.items = self.bytes = 0

    def count(self, depth: int, size: int = 0) -> None:
        self.items += 1
        self.bytes += size
        if depth > MOST_DEPTH:
            raise CannotCross(f"nested more than {MOST_DEPTH} deep: return fewer levels")
        if self.items > MOST_ITEMS:
            raise CannotCross(f"more than {MOST_ITEMS:,} values: return an array or a tensor")
        if self.bytes > MOST_BYTES:
            raise CannotCross(f"more than {MOST_BYTES // 1_000_000} MB: return less")


class _Writer(_Limits):
    def __init__(self, keep: Callable[[Any], Handle] | None) -> None:
        super().__init__()
        self.keep, self.buffers = keep, []

    def node(self, value: Any, depth: int) -> Any:
        """One value; its type is looked up exactly, so that no subclass passes for what it derives from."""
        kind = type(value)
        if isinstance(value, np.generic) and kind.__module__ == "numpy":
            value = value.item()
            kind = type(value)
        self.count(depth, len(value) if kind is str else 0)
        if value is None or kind is bool:
            return value
        if kind is int and value.bit_length() <= 4096:
            return value
        if kind is float:
            return ["f", value.hex()]
        if kind is str and len(value) <= LONGEST_TEXT:
            return value.encode("utf-8", "replace").decode()
        if kind in (tuple, list, range):
            return ["t" if kind is tuple else "l", *(self.node(part, depth + 1) for part in value)]
        if kind in DICTS:
            return ["d", *([self.key(k), self.node(part, depth + 1)] for k, part in value.items())]
        if kind is np.ndarray:
            return self.array(value)
        torch = sys.modules.get("torch")
        if torch and kind in (torch.Tensor, torch.nn.Parameter):
            return self.tensor(value, torch)
        if kind.__module__ == "torch_geometric.data.data" and kind.__name__ == "Data":
            return ["g", *([str(k), self.node(part, depth + 1)] for k, part in value.to_dict().items())]
        if kind is Handle:
            return ["h", value.number, value.title]
        if self.keep and callable(value):
            handle = self.keep(value)
            return ["h", handle.number, handle.title]
        raise CannotCross(refusal(value))

    def key(self, key: Any) -> Any:
        if isinstance(key, np.generic):
            key = key.item()
        if type(key) not in KEYS:
            raise CannotCross(f"a dictionary with {type(key).__name__} as key may not cross: use text")
        return self.node(key, 0)

    def array(self, value: np.ndarray) -> list:
        if value.dtype.kind == "U":
            texts = [str(text) for text in value.ravel()]
            return ["u", list(value.shape), [self.node(text, 0) for text in texts]]
        if value.dtype.name not in ARRAYS:
            raise CannotCross(f"an array of {value.dtype.name} may not cross: return an array of numbers")
        self.count(0, value.nbytes)
        little = np.ascontiguousarray(value, dtype=value.dtype.newbyteorder("<"))
        self.buffers.append(little.tobytes())
        return ["a", value.dtype.name, list(value.shape), len(self.buffers) - 1]

    def tensor(self, value: Any, torch: Any) -> list:
        name = str(value.dtype).removeprefix("torch.")
        if value.layout is not torch.strided or name not in TENSORS or value.is_meta:
            raise CannotCross(
                f"a {value.layout} tensor of {name} may not cross: return a dense one of numbers"
            )
        self.count(0, value.numel() * value.element_size())
        plain = value.detach().cpu().resolve_conj().resolve_neg().contiguous()
        plain = plain.view(torch.int16) if name == "bfloat16" else plain
        self.buffers.append(plain.numpy().tobytes())
        return ["T", name, list(value.shape), len(self.buffers) - 1]


class _Reader(_Limits):
    def __init__(self, buffers: Sequence[Any], fetch: Callable[[Handle], Any] | None) -> None:
        super().__init__()
        self.buffers, self.fetch = buffers, fetch or (lambda handle: handle)

    def value(self, node: Any, depth: int) -> Any:
        """The value of one node; anything that `_Writer` does not write is refused."""
        self.count(depth, len(node) if type(node) is str else 0)
        if node is None or type(node) is bool or (type(node) is str and len(node) <= LONGEST_TEXT):
            return node
        if type(node) is int and node.bit_length() <= 4096:
            return node
        try:
            tag, *parts = node
            read = {
                "f": self.float,
                "a": self.array,
                "T": self.tensor,
                "u": self.texts,
                "h": self.handle,
            }.get(tag)
            if read:
                return read(*parts)
            if tag in ("t", "l"):
                values = [self.value(part, depth + 1) for part in parts]
                return tuple(values) if tag == "t" else values
            if tag == "d":
                return {self.key(key): self.value(part, depth + 1) for key, part in parts}
            if tag == "g":
                return self.graph({name: self.value(part, depth + 1) for name, part in parts})
        except CannotCross:
            raise
        except Exception as error:
            raise CannotCross(f"not a value that was encoded: {type(error).__name__}") from None
        raise CannotCross("not a value that was encoded: unknown kind")

    def key(self, node: Any) -> Any:
        key = self.value(node, 0)
        if type(key) not in KEYS:
            raise CannotCross("not a value that was encoded: a key")
        return key

    def float(self, text: str) -> float:
        if type(text) is not str or len(text) > 40:
            raise CannotCross("not a value that was encoded: a float")
        return float.fromhex(text)

    def raw(self, dtype: np.dtype, shape: list, number: int) -> np.ndarray:
        if type(number) is not int or not 0 <= number < len(self.buffers) or type(shape) is not list:
            raise CannotCross("not a value that was encoded: a buffer")
        if len(shape) > MOST_DEPTH or not all(type(n) is int and 0 <= n < 2**40 for n in shape):
            raise CannotCross("not a value that was encoded: a shape")
        content = bytes(self.buffers[number])
        self.count(0, len(content))
        if len(content) != math.prod(shape) * dtype.itemsize:
            raise CannotCross("not a value that was encoded: a size")
        return np.frombuffer(content, dtype=dtype).reshape(shape).copy()

    def array(self, name: str, shape: list, number: int) -> np.ndarray:
        if type(name) is not str or name not in ARRAYS:
            raise CannotCross("not a value that was encoded: a type of numbers")
        if name == "bool":  # any byte but 0 is True; NumPy would keep the byte
            return self.raw(np.dtype("uint8"), shape, number).astype(bool)
        return self.raw(np.dtype(name).newbyteorder("<"), shape, number).astype(name)

    def tensor(self, name: str, shape: list, number: int) -> Any:
        import torch

        if name == "bfloat16":
            return torch.from_numpy(self.raw(np.dtype("int16"), shape, number)).view(torch.bfloat16)
        return torch.from_numpy(self.array(name, shape, number))

    def texts(self, shape: list, texts: list) -> np.ndarray:
        if type(texts) is not list or not all(type(self.value(text, 0)) is str for text in texts):
            raise CannotCross("not a value that was encoded: text")
        self.count(0, 4 * len(texts) * max(map(len, texts), default=0))  # NumPy pads to the longest
        return np.array(texts, dtype=str).reshape([int(n) for n in shape])

    def handle(self, number: int, title: str) -> Any:
        if type(number) is not int or type(title) is not str:
            raise CannotCross("not a value that was encoded: a handle")
        return self.fetch(Handle(number, title[:80]))

    def graph(self, fields: dict) -> Any:
        if not all(type(name) is str and name.isidentifier() and name[0] != "_" for name in fields):
            raise CannotCross("not a value that was encoded: the name of a field")
        from torch_geometric.data import Data

        return Data(**fields)
