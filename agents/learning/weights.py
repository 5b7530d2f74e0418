"""Weights of networks in checkpoints: those shipped with the package, and whether weights fit a network."""

from pathlib import Path
from typing import Any

from hko7env.contract import OptionError

from ..networks.network import TrainableNetwork
from .checkpoint import CheckpointError, fill, read, under

WEIGHTS = Path(__file__).parent.parent / "weights"  # shipped with the package

_REMEDIES = {
    "model": "use it with the agent agents.{found}",
    "size": "choose the size {found}",
    "table": "the network's layers have changed since: train it again",
    "zr": "use it on an archive with the same relation of level to rain rate, or train on this one",
}


def load_weights(net: TrainableNetwork, path: Path, wanted: dict[str, Any] | None = None) -> dict[str, Any]:
    """Copy the weights of a checkpoint of any kind into ``net``.

    Args:
        net: The network.
        path: The checkpoint.
        wanted: The metadata it must have; default: ``net.metadata``.

    Returns:
        The metadata of the checkpoint.

    Raises:
        MissingCheckpointError: If there is no such file.
        CheckpointError: If it is damaged, or its weights do not fit the network.
    """
    tensors, found = read(path)
    check_metadata(found, net.metadata if wanted is None else wanted, path)
    fill(net, under("net", tensors), path)
    return found


def check_metadata(found: dict[str, Any], wanted: dict[str, Any], path: Path) -> None:
    """Check that all of ``wanted`` is in ``found``, the metadata of the checkpoint at ``path``.

    Raises:
        CheckpointError: If something differs; the message names the difference and the remedy.
    """
    for name, value in wanted.items():
        if name not in found:
            raise CheckpointError(f"{path} does not say its {name}, {value} is needed: train the network again")
        if found[name] != value:
            remedy = _REMEDIES.get(name, "train the network again").format(found=found[name])
            raise CheckpointError(f"{path} has {name} {found[name]}, but {value} is needed: {remedy}")


def find_shipped_weights(model: str, size: str) -> Path:
    """The weights of a network that come with the package.

    Raises:
        OptionError: If there are none; the message says what to do.
    """
    path = WEIGHTS / f"{model}-{size}.safetensors"
    if not path.is_file():
        raise OptionError(
            f"this copy comes without weights of {model}, size {size}: train agents.{model} and give the "
            'best.safetensors of the training as checkpoint, or give the checkpoint "none" for random weights'
        )
    return path
