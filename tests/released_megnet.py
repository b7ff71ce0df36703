"""The code that MEGNet was released with, run from its pinned wheel on NumPy arrays.

Its layers are written for a TensorFlow and a Keras that no longer install. They call some thirty functions of
these, which NumPy has under other names. What the layers compute, and how the file of the weights says that
they are wired, stays the release's own.
"""

import io
import json
import sys
import types
from unittest import mock

import h5py
import numpy as np

from mg9.data import cache


def segments(reduce):
    """tf.math.segment_sum and segment_mean: over the first axis, for sorted ids."""
    return lambda data, ids: np.stack([reduce(data[ids == k], axis=0) for k in range(ids.max() + 1)])


def foreign_modules() -> dict[str, types.ModuleType]:
    """tensorflow, keras and megnet's helpers, as far as the two layers use them."""
    tf = types.SimpleNamespace(
        concat=lambda values, axis: np.concatenate(values, axis=axis),
        expand_dims=np.expand_dims,
        exp=np.exp,
        gather=lambda x, index, axis: np.take(x, index, axis=axis),
        math=types.SimpleNamespace(segment_mean=segments(np.mean), segment_sum=segments(np.sum)),
        multiply=np.multiply,
        reduce_mean=np.mean,
        reduce_sum=lambda input_tensor, axis: input_tensor.sum(axis=axis),
        reshape=np.reshape,
        shape=lambda input: np.shape(input),
        squeeze=lambda x, axis=None: np.squeeze(x, axis=axis),
        stack=tuple,
        transpose=lambda a, perm: np.transpose(a, perm),
        unique_with_counts=lambda x: (None, None, np.unique(x, return_counts=True)[1]),
        zeros=np.zeros,
    )
    backend = types.SimpleNamespace(
        abs=np.abs,
        concatenate=lambda values, axis: np.concatenate(values, axis=axis),
        dot=np.dot,
        exp=np.exp,
        log=np.log,
        relu=lambda x: np.maximum(x, 0.0),
    )
    named = {
        "hard_sigmoid": lambda x: np.clip(0.2 * x + 0.5, 0.0, 1.0),
        "tanh": np.tanh,
        "linear": lambda x: x,
        None: lambda x: x,
    }
    anything = types.SimpleNamespace(get=lambda name: None)
    activations = types.SimpleNamespace(
        get=lambda name: name if callable(name) else named[name], serialize=None, deserialize=None
    )
    layer = types.SimpleNamespace(Layer=type("Layer", (), {"__init__": lambda self, **_: None}))
    keras = {
        "backend": backend,
        "engine": layer,
        "activations": activations,
        "initializers": anything,
        "regularizers": anything,
        "constraints": anything,
    }
    repeat = types.SimpleNamespace(
        repeat_with_index=lambda x, index, axis=1: np.take(x, np.ravel(index), axis=axis)
    )
    found = {"tensorflow": tf, "keras": types.SimpleNamespace(**keras), "megnet": types.SimpleNamespace()}
    found |= {f"keras.{name}": value for name, value in keras.items()}
    return found | {"megnet.utils": types.SimpleNamespace(), "megnet.utils.layer": repeat}


class Released:
    """A released model. Called with z, bumps, state, i, j, crystal of each atom, crystal of each bond."""

    def __init__(self, wheel, file: str) -> None:
        code = foreign_modules()
        parts = ["activations", "layers.graph.base", "layers.graph.megnet", "layers.readout.set2set"]
        with mock.patch.dict(sys.modules, code):
            for part in parts:
                module = types.ModuleType(part)
                name = f"megnet/{part.replace('.', '/')}.py"
                exec(compile(cache.member(wheel, name), name, "exec"), module.__dict__)
                sys.modules[f"megnet.{part}"] = module
                if part == "activations":
                    sys.modules["megnet"].activations = module
                    self.softplus2 = module.softplus2
                if part == "layers.graph.base":
                    sys.modules["megnet.layers.graph"] = module
            self.block = sys.modules["megnet.layers.graph.megnet"].MEGNetLayer
            self.set2set = sys.modules["megnet.layers.readout.set2set"].Set2Set
        self.file = h5py.File(io.BytesIO(cache.member(wheel, f"mvl_models/mp-2018.6.1/{file}.hdf5")))
        self.layers = json.loads(self.file.attrs["model_config"])["config"]["layers"]

    def weights(self, layer: str) -> dict[str, np.ndarray]:
        found = {}

        def take(path, item):
            if isinstance(item, h5py.Dataset):
                found[path.split("/")[-1].removesuffix(":0")] = item[:].astype(float)

        self.file["model_weights"][layer].visititems(take)
        return found

    def __call__(self, *inputs: np.ndarray) -> np.ndarray:
        values, inputs = {}, iter(inputs)
        for layer in self.layers:
            name, config = layer["name"], layer["config"]
            given = [values[came][k] for came, _, k, _ in sum(layer["inbound_nodes"], [])]
            match layer["class_name"]:
                case "InputLayer":
                    out = next(inputs)[None]
                case "Embedding":
                    out = self.weights(name)["embeddings"][given[0]]
                case "Dense":
                    w = self.weights(name)
                    activation = {"softplus2": self.softplus2, "linear": lambda x: x}[config["activation"]]
                    out = activation(given[0] @ w["kernel"] + w["bias"])
                case "Add":
                    out = sum(given)
                case "Concatenate":
                    out = np.concatenate(given, axis=-1)
                case "MEGNetLayer":
                    out = self.run_block(name, config, given)
                case "Set2Set":
                    out = self.run_set2set(name, config, given)
            values[name] = out if isinstance(out, list) else [out]
        return values[self.layers[-1]["name"]][0].ravel()

    def run_block(self, name, config, given):
        units = {key: config[key] for key in ("units_v", "units_e", "units_u", "pool_method")}
        block, w = self.block(**units, activation=self.softplus2), self.weights(name)
        for letter in "evu":
            setattr(block, f"phi_{letter}_weights", [w[f"weight_{letter}_{k}"] for k in range(3)])
            setattr(block, f"phi_{letter}_biases", [w[f"bias_{letter}_{k}"] for k in range(3)])
        return block.call(given)

    def run_set2set(self, name, config, given):
        keys = ("T", "n_hidden", "activation_lstm", "recurrent_activation")
        layer, w = self.set2set(**{key: config[key] for key in keys}), self.weights(name)
        layer.m_weight, layer.m_bias = w["x_to_m_weight"], w["x_to_m_bias"]
        layer.recurrent_kernel, layer.recurrent_bias = w["recurrent_kernel"], w["recurrent_bias"]
        return layer.call(given)
