"""Anything with fit and predict, and what it reads of a crystal (slide 47)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm.auto import tqdm

if TYPE_CHECKING:
    import torch
    from pymatgen.core import Structure

    from mg9.data import Dataset
    from mg9.splits import Split


def magpie_features(structures: Sequence[Structure]) -> np.ndarray:
    """Magpie features (n, 132) of the formulas of n crystals: what a model reads by default (slide 47)."""
    from mg9.b_magpie import magpie

    return magpie([structure.formula for structure in structures])[0]


def crystal_graphs(structures: Sequence[Structure]) -> list:
    """The graph of each crystal, for `network` (slide 47)."""
    from mg9.a_crystal import crystal_graph

    bar = tqdm(structures, desc="graphs", unit="crystal", delay=2, leave=False)
    return [crystal_graph(structure) for structure in bar]


@dataclass(frozen=True)
class Reading:
    """A model that is not yet fitted, and the function from n structures to what it reads (slide 47).

    model: fit(inputs, target) and predict(inputs) -> (n,), scikit-learn's or your own; one that chooses
    something on the validation part has fit(inputs, target, validation=(inputs, target)).
    """

    model: Any
    inputs: Callable[[Sequence[Structure]], Sequence] = magpie_features


def network(make: Callable[[], torch.nn.Module], *, seed: int = 0, **settings: Any) -> Reading:
    """A graph network as `Report` reads it (slide 47): `network(CGCNN, epochs=40)`.

    make: builds the untrained network; settings: keywords of `mg9.train.fit`.
    """
    return Reading(Network(make, seed, settings), crystal_graphs)


@dataclass
class Network:
    """fit and predict of a graph network, trained with `mg9.train.fit` (slide 47)."""

    make: Callable[[], torch.nn.Module]
    seed: int
    settings: dict[str, Any]

    def fit(self, graphs: Sequence, target: np.ndarray, validation: tuple[Sequence, np.ndarray]) -> Network:
        import torch

        from mg9.train import fit

        with torch.random.fork_rng():  # the caller's random numbers stay as they were
            torch.manual_seed(self.seed)
            model = self.make()
        rows = np.arange(len(graphs) + len(validation[0]))
        parts = SimpleNamespace(train=rows[: len(graphs)], validation=rows[len(graphs) :])
        both = [*graphs, *validation[0]], np.concatenate([target, validation[1]])
        self.trained_ = fit(model, *both, parts, seed=self.seed, **self.settings)
        return self

    def predict(self, graphs: Sequence) -> np.ndarray:
        return self.trained_.predict(graphs).double().numpy()


def take(inputs: Sequence, rows: np.ndarray) -> Sequence:
    """The rows of an array, a table or a list (slide 47)."""
    if hasattr(inputs, "iloc"):
        return inputs.iloc[rows]
    return inputs[rows] if isinstance(inputs, np.ndarray) else [inputs[row] for row in rows]


def fitted(model: Any, inputs: Sequence, target: np.ndarray, split: Split) -> Any:
    """A copy of `model` that was fitted on the training part, and shown the validation part if it asks for it
    (slide 47)."""
    from sklearn.base import clone

    model = clone(model, safe=False)
    train = take(inputs, split.train), target[split.train]
    if "validation" in inspect.signature(model.fit).parameters:
        validation = take(inputs, split.validation), target[split.validation]
        model.fit(*train, validation=validation)
    else:
        model.fit(*train)
    return model


def predicted(model: Any, inputs: Sequence, rows: np.ndarray) -> np.ndarray:
    """Predictions (len(rows),). Errors: ValueError when there are others than one finite number for each."""
    values = np.asarray(model.predict(take(inputs, rows)), dtype=float).reshape(-1)
    if len(values) != len(rows) or not np.isfinite(values).all():
        name = type(model).__name__
        raise ValueError(
            f"{name}.predict gave {len(values)} numbers, {np.isfinite(values).sum()} of them finite, "
            f"for {len(rows)} crystals; return one finite number for each"
        )
    return values


def targets(dataset: Dataset, target: str, split: Split) -> np.ndarray:
    """The target as numbers (n_rows,) (slide 47).

    Errors: ValueError for a column that is not there, a split of another table, a target that is not finite.
    """
    if target not in dataset.table:
        raise ValueError(f"{dataset.name} has no column {target!r}: {', '.join(dataset.table.columns)}")
    values = dataset.table[target].to_numpy(dtype=float)
    used = np.concatenate([split.train, split.validation, split.test])
    if used.max() >= len(values):
        raise ValueError(f"the split names row {used.max()} of {len(values)}; split the same table")
    if not np.isfinite(values[used]).all():
        row = used[~np.isfinite(values[used])][0]
        raise ValueError(f"{target} of {dataset.table.index[row]} is not finite; drop the row")
    return values
