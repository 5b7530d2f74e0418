"""Damaged, edited and foreign checkpoints and training folders: refused by name, or as good as the sound ones."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from agents.commands.links import read_links
from agents.learning.checkpoint import CheckpointError, digest, named, read, write
from agents.learning.network_agent import Config, NetworkAgent
from agents.learning.train_config import Optimisation
from agents.learning.trainer import Trainer
from agents.learning.weights import load_weights
from agents.moving_mnist import experiment as digits
from agents.networks.registry import describe_weights
from hko7env.loading import load
from hko7env.testing import forecast, observation, task
from tests.helpers.training import tiny_network, tiny_trainer

SOME = task(60, 60)
BOUND = describe_weights("convgru", "small", SOME)  # what the tiny networks here pretend to be
NARROW = [1, 1, 1, 1]
MEANT = {"score": (None, 2.5), "seconds": (2.5,)}  # and what it may be
WRONG = (None, "x", -1, 2.5, float("nan"), True, [], [1], {}, {"a": 1}, 10**400)  # what a fact should not be

pytestmark = pytest.mark.usefixtures("one_thread")


def agent():
    return NetworkAgent(SOME, tiny_network(), Config(), dict(BOUND))


class Kind:
    """A kind of checkpoint: ``make(folder)`` writes one and gives its path, ``use(path)`` all that its reader takes."""

    def __init__(self, make, use):
        self.make, self.use = make, use


def state(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def made_weights(folder):
    write(folder / "a.safetensors", named("net", tiny_network(5).state_dict()), {"kind": "weights", **BOUND, "step": 7})
    return folder / "a.safetensors"


def used_weights(path):
    one = tiny_network(1)
    load_weights(one, path, BOUND)
    return state(one)


def made_training(folder):
    tiny_trainer(folder, steps=2, weight_averaging=0.5, metadata=BOUND).run()
    return folder / "last.safetensors"


def used_training(path):
    one = tiny_trainer(path.parent, seed=1, steps=2, weight_averaging=0.5, metadata=BOUND)
    numbers = {"counters": torch.tensor([one.step, one.waited, one.seconds, one.best], dtype=torch.float64)}
    parts = {
        f"{name} {part}": value for name, p in one.net.named_parameters() for part, value in one.adam.state[p].items()
    }
    return state(one.net) | numbers | parts | {f"ema {name}": value for name, value in one.average.values.items()}


def made_online(folder):
    one = agent()
    for step in range(6):
        forecast(one, observation(SOME, 0, step, new_episode=step == 0))
    one.store(observation(SOME, 0, 6))
    one.save(folder / "a.checkpoint")
    return folder / "a.checkpoint"


def used_online(path):
    one = agent()
    one.restore(path)
    steps = torch.tensor(one._steps)
    one.update()
    ahead = torch.from_numpy(forecast(one, observation(SOME, 0, 7)))
    return state(one.net) | {"steps": steps, "ahead": ahead}


def made_digits(folder):
    bound = digits.describe_digit_weights("convgru-K3D2", NARROW) | {
        "digits": "x", "batch": 2, "seed": 0, "rotation": 30.0, "precision": "float32",
    }  # fmt: skip

    class Source:
        def batch(self, step):
            return digits.Sequences(torch.rand(1, 20, 64, 64, generator=torch.Generator().manual_seed(step)))

    made = digits.build_network("convgru-K3D2", NARROW)
    Trainer(made, Source(), digits.squared_error, Optimisation(steps=1), folder, bound).run()
    return folder / "last.safetensors"


def used_digits(path):
    run = digits.Run.read(path.parent)
    assert digits.describe_deviations(run.metadata)
    return state(run.net) | {name: torch.tensor(float(run.metadata[name])) for name in ("seed", "step", "seconds")}


KINDS = {
    "weights": Kind(made_weights, used_weights),
    "training": Kind(made_training, used_training),
    "online": Kind(made_online, used_online),
    "digits": Kind(made_digits, used_digits),
}


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A sound checkpoint of each kind."""
    return {name: kind.make(tmp_path_factory.mktemp(name)) for name, kind in KINDS.items()}


@pytest.fixture(params=KINDS)
def kind(request, sound, tmp_path):
    """A kind of checkpoint, the path of one that a test may spoil, and what the sound one gives."""
    shutil.copytree(sound[request.param].parent, tmp_path / "copy")
    path = tmp_path / "copy" / sound[request.param].name
    return KINDS[request.param], path, KINDS[request.param].use(path)


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def refused_or_harmless(kind, path, wanted):
    """Whether the checkpoint at ``path`` is refused by name; if it is not, it must be as good as the sound one."""
    try:
        given = kind.use(path)
    except CheckpointError as error:
        assert str(path) in str(error)
        return True
    assert same(given, wanted)
    return False


# ---------------------------------------------------------------- bytes


def spoiled(data, random):
    """``data`` with a byte changed, a part lost, a part twice, or zeroes in place of a part."""
    first, last = sorted(int(n) for n in random.integers(0, len(data), 2))
    header = int(random.integers(0, 8 + int.from_bytes(data[:8], "little")))
    return (
        data[:first] + bytes([data[first] ^ int(1 << random.integers(8))]) + data[first + 1 :],
        data[:header] + bytes([int(random.integers(256))]) + data[header + 1 :],
        data[:first],
        data[:header],
        data[:first] + data[last:],
        data[:last] + data[first:],
        data[:first] + bytes(last - first) + data[last:],
        data + data[first:last],
    )[int(random.integers(8))]


def test_a_spoiled_file_is_refused_or_is_as_good_as_before(sound, tmp_path):
    random = np.random.default_rng(15)
    path, refused = tmp_path / "a.safetensors", 0
    data = sound["training"].read_bytes()
    tensors, found = read(sound["training"])
    for _ in range(250):
        path.write_bytes(spoiled(data, random))
        try:
            given = read(path)
        except CheckpointError as error:
            refused += 1
            assert str(path) in str(error)
        else:
            assert same(given[0], tensors)
            assert given[1] == found
    assert refused > 200


@pytest.mark.parametrize(
    "header",
    [
        b"[" * 100_000,
        b'{"__metadata__":' + b'{"a":' * 100_000,
        b'{"a":{"dtype":"F4","shape":[2],"data_offsets":[0,1]}}',
        b'{"__metadata__":{"facts":"' + b"[" * 100_000 + b'"}}',
        b'{"__metadata__":{"facts":"[1]"}}',
        b'{"__metadata__":[]}',
        b"null",
    ],
)
def test_a_foreign_header_is_refused(tmp_path, header):
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0")
    with pytest.raises(CheckpointError, match=r"a\.safetensors (is damaged|holds tensors of another program)"):
        read(path)


# ---------------------------------------------------------------- facts and tensors


def without(path, tensors, found, name):
    """Write the checkpoint at ``path`` without the fact ``name``."""
    write(path, tensors, {n: v for n, v in found.items() if n != name})
    if name in ("format", "version"):  # which write() puts in by itself
        tensors, marks = load_file(path), {"facts": json.dumps({n: v for n, v in found.items() if n != name})}
        save_file(tensors, path, metadata=marks | {"sha256": digest(tensors, marks["facts"])})


def test_a_fact_that_is_lacking_or_of_another_type_is_refused_or_harmless(kind):
    kind, path, wanted = kind
    tensors, found = read(path)
    refused = set()
    random = np.random.default_rng(15)
    for name in found:
        without(path, tensors, found, name)
        refused |= {name} if refused_or_harmless(kind, path, wanted) else set()
        for value in (WRONG[i] for i in random.permutation(len(WRONG))[:4]):
            if value not in MEANT.get(name, ()) and value is not found[name]:
                write(path, tensors, found | {name: value})
                refused |= {name} if refused_or_harmless(kind, path, wanted) else set()
    assert refused >= {"format", "version", "model", "table"}
    assert refused >= {"training": {"step", "waited", "seconds", "score"}, "online": {"steps", "due"}}.get(
        found["kind"], set()
    ) - ({"waited", "score"} if "data" in found else set())


CHANGES = {
    "lacks": lambda tensor: None,
    "float64": lambda tensor: tensor.double(),
    "float16": lambda tensor: tensor.half(),
    "int32": lambda tensor: tensor.int(),
    "longer": lambda tensor: torch.cat([tensor.reshape(-1)] * 2 + [torch.zeros(1, dtype=tensor.dtype)]),
    "not a number": lambda tensor: torch.full_like(tensor, torch.nan) if tensor.is_floating_point() else None,
    "infinite": lambda tensor: torch.full_like(tensor, -torch.inf) if tensor.is_floating_point() else None,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_tensor_that_is_lacking_or_another_is_refused_or_harmless(kind, change):
    kind, path, wanted = kind
    tensors, found = read(path)
    one_of_each = {name.partition(".encoder")[0].partition(".forecaster")[0]: name for name in tensors}
    refused = set()
    for part, name in one_of_each.items():
        changed = dict(tensors)
        value = CHANGES[change](changed.pop(name))
        write(path, changed if value is None else changed | {name: value}, found)
        refused |= {part} if refused_or_harmless(kind, path, wanted) else set()
    used = {"net"} if "data" in found else {"net", "ema", "adagrad", "adam.step", "adam.exp_avg", "adam.exp_avg_sq"}
    assert refused >= used & one_of_each.keys()


def test_weights_of_another_precision_are_refused_by_name(tmp_path):
    path = made_weights(tmp_path)
    tensors, found = read(path)
    write(path, {name: tensor.half() for name, tensor in tensors.items()}, found)
    with pytest.raises(
        CheckpointError, match=r"a\.safetensors .* is torch\.float16, not torch\.float32\): use another"
    ):
        used_weights(path)


def test_a_checkpoint_that_does_not_fit_leaves_agent_and_network_as_they_were(tmp_path):
    path = made_online(tmp_path)
    tensors, found = read(path)
    del tensors["adagrad.forecaster.fconv5.bias"]
    write(path, tensors, found)
    one = agent()
    before = state(one.net)
    with pytest.raises(CheckpointError, match="does not fit the network"):
        one.restore(path)
    assert same(before, state(one.net))
    assert one._steps == 0
    assert not one.buffer.segments


def test_a_folder_is_no_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match="is a folder, not a checkpoint: give a file, such as the best"):
        load("agents.convgru", SOME, checkpoint=str(tmp_path))


def test_what_a_checkpoint_does_not_say_is_named(tmp_path):
    path = made_weights(tmp_path)
    tensors, found = read(path)
    del found["size"]
    write(path, tensors, found)
    with pytest.raises(CheckpointError, match="does not say its size, small is needed: train the network again"):
        load("agents.convgru", SOME, checkpoint=str(path))


@pytest.mark.parametrize("size", [None, "huge", 3])
def test_links_are_not_drawn_of_a_checkpoint_of_no_size(tmp_path, size):
    write(tmp_path / "a", {}, {"model": "trajgru", "size": size})
    with pytest.raises(CheckpointError, match=r"/a has size .* but small or full is needed"):
        read_links(tmp_path / "a", SOME, np.zeros((5, 60, 60), np.uint8))
