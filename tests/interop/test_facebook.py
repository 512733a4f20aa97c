import builtins
import json
import sys
from itertools import pairwise

import numpy as np
import pytest
import tensorflow as tf

from tfdlrm.base.errors import InputError
from tfdlrm.interop.facebook import from_keras, to_keras
from tfdlrm.layers import MLP, DotInteraction, EmbeddingCollection
from tfdlrm.models import DLRM


def make_state(sizes=(30, 7, 50), dim=4, num_dense=5, top=(10, 16, 1)):
    """Return random weights under the reference's names."""
    rng = np.random.default_rng(0)
    normal = lambda *shape: rng.normal(size=shape).astype("float32")  # noqa: E731
    state = {f"emb_l.{i}.weight": normal(size, dim) for i, size in enumerate(sizes)}
    for mlp, widths in (("bot_l", (num_dense, 8, dim)), ("top_l", top)):
        for i, (inputs, units) in enumerate(pairwise(widths)):
            state[f"{mlp}.{2 * i}.weight"] = normal(units, inputs)
            state[f"{mlp}.{2 * i}.bias"] = normal(units)
    return state


def make_inputs(rows=16):
    rng = np.random.default_rng(1)
    return {
        "dense_features": rng.normal(size=(rows, 5)).astype("float32"),
        "categorical_features": rng.integers(0, [30, 7, 50], (rows, 3)),
    }


def assert_equal_states(state, expected):
    assert list(state) == list(expected)
    for name, array in expected.items():
        assert state[name].dtype == array.dtype
        np.testing.assert_array_equal(state[name], array)


@pytest.mark.parametrize("name", ["sgd", "adagrad", "rwsadagrad", "multihot_itself"])
def test_scores_are_those_that_the_reference_recorded(golden, name):
    recorded = np.load(golden / f"reference_{name}.npz")
    meta = json.loads(str(recorded["meta"]))
    state = {
        key.partition("/")[2]: recorded[key]
        for key in recorded.files
        if key.startswith("initial/")
    }
    model = to_keras(state, self_interaction=meta["interact_itself"])
    ids = [recorded[f"step0/indices{i}"] for i in range(len(meta["vocabulary_sizes"]))]
    offsets = recorded["step0/offsets"]
    inputs = {
        "dense_features": recorded["step0/dense"],
        "categorical_features": (ids, offsets)
        if meta["multi_hot"]
        else np.stack(ids, 1),
    }
    expected = recorded["step0/probability"]
    np.testing.assert_allclose(tf.sigmoid(model(inputs)), expected, atol=1e-6)
    assert_equal_states(from_keras(model), state)


def test_the_round_trip_is_exact_in_every_bit():
    state = make_state()
    # Values that any arithmetic on the way would change.
    state["emb_l.0.weight"][0] = [np.float32(1e-45), -0.0, np.inf, 3.4e38]
    back = from_keras(to_keras(state))
    for name, array in state.items():
        assert back[name].tobytes() == array.tobytes()


def test_a_model_made_here_goes_there_and_back():
    model = to_keras(make_state())
    again = to_keras(from_keras(model))
    np.testing.assert_array_equal(again(make_inputs()), model(make_inputs()))


@pytest.mark.slow
def test_a_torch_model_gives_the_same_scores():
    torch = pytest.importorskip("torch")
    model = TorchDLRM(torch)
    inputs = make_inputs()
    expected = model(
        torch.from_numpy(inputs["dense_features"]),
        torch.from_numpy(inputs["categorical_features"]),
    )
    probabilities = tf.sigmoid(to_keras(model.state)(inputs))
    np.testing.assert_allclose(probabilities, expected.detach().numpy(), atol=1e-6)


class TorchDLRM:
    """The reference's forward pass, on PyTorch's own layers."""

    def __init__(self, torch):
        self.torch, nn = torch, torch.nn
        torch.manual_seed(0)
        self.tables = nn.ModuleList(
            [nn.EmbeddingBag(n, 4, mode="sum") for n in (30, 7, 50)]
        )
        relu = nn.ReLU()
        self.bottom = nn.Sequential(nn.Linear(5, 8), relu, nn.Linear(8, 4), relu)
        sigmoid = nn.Sigmoid()
        self.top = nn.Sequential(nn.Linear(10, 16), relu, nn.Linear(16, 1), sigmoid)
        parts = {"emb_l": self.tables, "bot_l": self.bottom, "top_l": self.top}
        self.state = nn.ModuleDict(parts).state_dict()

    def __call__(self, dense, ids):
        torch = self.torch
        bottom = self.bottom(dense)
        vectors = [table(ids[:, i : i + 1]) for i, table in enumerate(self.tables)]
        stack = torch.stack([bottom, *vectors], dim=1)
        products = stack @ stack.transpose(1, 2)
        rows, columns = torch.tril_indices(4, 4, -1)
        return self.top(torch.cat([bottom, products[:, rows, columns]], dim=1))


def test_a_file_as_the_reference_saves_it_is_read(tmp_path):
    torch = pytest.importorskip("torch")
    state = make_state()
    tensors = {name: torch.from_numpy(array) for name, array in state.items()}
    saved = {
        "epoch": 1,
        "train_acc": np.float64(0.78),
        "test_loss": np.float32(0.45),
        "state_dict": tensors,
    }
    torch.save(saved, tmp_path / "model.pt")
    torch.save(tensors, tmp_path / "state.pt")
    for name in ("model.pt", "state.pt"):
        assert_equal_states(from_keras(to_keras(tmp_path / name)), state)


class Hidden:
    def __reduce__(self):
        return builtins.eval, ("__import__('pathlib').Path('ran').touch()",)


def test_code_in_a_file_is_not_run(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": Hidden()}, "model.pt")
    with pytest.raises(InputError, match=r"model\.pt holds more than weights"):
        to_keras("model.pt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.slow_variants
@pytest.mark.parametrize(
    "rename",
    [
        "module.{}".format,
        "_orig_mod.{}".format,
        "_orig_mod.module.{}".format,
        "module._orig_mod.{}".format,
        # On several machines the reference wraps only its MLPs.
        lambda name: name.replace("bot_l.", "bot_l.module."),
    ],
)
@pytest.mark.parametrize("wrap", [dict, lambda state: {"state_dict": state, "iter": 3}])
def test_what_pytorch_puts_around_a_model_is_left_out(rename, wrap):
    state = make_state()
    model = to_keras(wrap({rename(name): value for name, value in state.items()}))
    assert_equal_states(from_keras(model), state)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"state_dict": [1]}, "holds a list, expected weights by their names"),
        ([1], "holds a list, expected weights by their names"),
        ({**make_state(), "module.emb_l.0.weight": 0}, "has module.emb_l.0.weight"),
    ],
)
def test_what_holds_no_weights_is_refused(state, message):
    with pytest.raises(InputError, match=message):
        to_keras(state)


def test_a_file_that_is_none_of_torch_is_refused(tmp_path):
    pytest.importorskip("torch")
    path = tmp_path / "model.pt"
    with pytest.raises(InputError, match=r"model\.pt cannot be read.*No such file"):
        to_keras(path)
    for content in (b"", b"not a model", b"PK\x03\x04 torn"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"model\.pt"):
            to_keras(path)


def test_without_torch_a_file_is_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(
        InputError, match=r"needs PyTorch to be read.*pip install torch"
    ):
        to_keras(tmp_path / "model.pt")


def changed(**changes):
    state = make_state()
    for name, value in changes.items():
        name = name.replace("__", ".")
        if value is None:
            del state[name]
        else:
            state[name] = value
    return state


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (changed(emb_l__1__weight=None), "has no emb_l.1.weight"),
        (changed(bot_l__2__bias=None), "has no bot_l.2.bias"),
        (changed(top_l__0__weight=None), "has no top_l.0.weight"),
        (changed(tail=np.ones(3)), "has tail, expected names such as emb_l.0.weight"),
        (changed(emb_l__3__weight_q=np.ones(3)), "--qr-flag and --md-flag have no way"),
        (changed(v_W_l__0=np.ones(3)), "multiply each row of emb_l"),
        (
            changed(bot_l__0__bias=np.zeros(8)),
            r"has bot_l.0.bias of type float64 and shape \(8,\), expected float32",
        ),
        (
            changed(bot_l__2__weight=np.ones((4, 9), "float32")),
            r"bot_l.2.weight of shape \(4, 9\), expected \(4, 8\)",
        ),
        (
            changed(emb_l__2__weight=np.ones((9, 3), "float32")),
            "emb_l.2.weight of width 3 and emb_l.0.weight of width 4",
        ),
        (make_state(top=(14, 1)), "for 14 inputs.*give self_interaction=True"),
        (make_state(top=(16, 1)), "for 16 inputs.*--arch-interaction-op=cat"),
        (make_state(top=(10, 2)), "top MLP that ends at width 2, expected 1"),
        ({}, "the state has no emb_l.0.weight"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(state, message):
    with pytest.raises(InputError, match=message):
        to_keras(state)


class _Bfloat16:
    """A tensor of a type that NumPy lacks, as PyTorch returns it."""

    dtype = "torch.bfloat16"

    def detach(self):
        return self

    def cpu(self):
        return self

    def __array__(self, *_, **__):
        raise TypeError("Got unsupported ScalarType BFloat16")


def test_a_type_that_numpy_has_not_is_refused():
    message = r"bot_l.0.weight of type torch.bfloat16, expected float32: save model.fl"
    with pytest.raises(InputError, match=message):
        to_keras({"bot_l.0.weight": _Bfloat16()})


def test_a_bottom_of_another_width_than_the_tables_is_refused():
    state = make_state(sizes=(30,), dim=3, top=(4, 1))
    state["emb_l.0.weight"] = np.ones((30, 5), "float32")
    with pytest.raises(InputError, match="ends at width 3, expected 5"):
        to_keras(state)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"top_mlp": MLP([1], final_activation="sigmoid")}, "another activation"),
        ({"top_mlp": MLP([3, 1], normalization="batch")}, "has batch normalization"),
        (
            {"embeddings": EmbeddingCollection([9, 5], 4, num_collisions=2)},
            "with shared rows",
        ),
        (
            {"embeddings": EmbeddingCollection([9, 5], 4, table_dims=[2, 4])},
            "several widths",
        ),
        (
            {"embeddings": EmbeddingCollection([9, 5], 4, combiner="mean")},
            "the combiner mean for bags",
        ),
    ],
)
def test_a_model_that_the_reference_cannot_have_is_refused(parts, message):
    usual = {
        "embeddings": EmbeddingCollection([9, 5], 4),
        "bottom_mlp": MLP([4], final_activation="relu"),
        "interaction": DotInteraction(),
        "top_mlp": MLP([1]),
    }
    with pytest.raises(InputError, match=message):
        from_keras(DLRM(**{**usual, **parts}))


def test_a_model_of_categorical_features_alone_is_refused():
    alone = DLRM(EmbeddingCollection([9, 5], 4), None, DotInteraction(), MLP([1]))
    with pytest.raises(InputError, match="only dense or only categorical features"):
        from_keras(alone)
