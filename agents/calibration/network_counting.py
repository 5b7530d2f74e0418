"""Counting over whole archives how often the probabilities of the network that corrects advected frames came true."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hko7env import progress
from hko7env.contract import OptionError, Task
from hko7env.schedule import INPUTS
from hko7env.scores import scored
from hko7env.split_view import SplitView
from hko7env.units import ZR

from ..learning import checkpoint
from ..learning.advected_forecast import correct_frames
from ..learning.weights import check_metadata
from ..networks import flow_net
from ..networks.flow_net import FlowNet, build_flow_net
from ..optical_flow import segment_advection, segment_motion, variational
from . import kept_counts, reliability
from .counting import Source
from .prior import LEADS, STEP, resample_leads

PART = 10  # sequences between two writes of the counts


def calibrate_network(weights: Path, sources: Sequence[Source], out: Path, cache: Path) -> list[dict[str, Any]]:
    """Add to the weights of a network the counts of a mean sequence of some archives.

    Args:
        weights: Checkpoint of a training of the network.
        sources: At least one; none that the network was trained on, where it is too sure.
        out: The file to write, which the agent takes as its checkpoint.
        cache: Folder in which counts are kept, so that counting continues after an interruption.

    Returns:
        What the file says about each source: its source, fingerprint, split, number of sequences and weight.

    Raises:
        ValueError: If an archive cannot be used with these weights, or has no sequence or observation, or if
            the weights learned from frames of a source.
        OSError: If a file cannot be read or written.
    """
    zr = sources[0].view.archive.zr
    if any(source.view.archive.zr != zr for source in sources):
        raise ValueError("the archives have different relations of level to rain rate: calibrate with each by itself")
    net, tensors, metadata = read_network(weights, zr)
    counts, told = np.zeros((LEADS, reliability.EVENTS, reliability.BINS, 2)), []
    for source in sources:
        _check_unlearned(source.view, metadata, weights)
        found, archive = count_archive(source.view, net, checkpoint.digest(tensors), cache), source.view.archive
        flat = resample_leads(found.reshape(len(found), -1, 2), archive.cadence, STEP, LEADS).reshape(counts.shape)
        counts += source.scale(flat.sum((2, 3))) * flat
        told.append(source.describe())
    counts /= sum(source.weight for source in sources)
    kept = {**tensors, "counts": torch.from_numpy(counts.astype(np.float32))}
    out.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.write(out, kept, {**metadata, "calibrated": told})
    return told


def _check_unlearned(view: SplitView, metadata: dict[str, Any], weights: Path) -> None:
    """Raise ValueError if a training that made ``weights`` learned from frames of the split."""
    archive, split = view.archive, metadata.get("split")
    if archive.fingerprint not in [fingerprint for fingerprint, _ in metadata.get("archives", [])]:
        return
    learned = archive.select(split if split in archive.splits else None)
    if np.isin(learned, view.times).any():
        raise ValueError(
            f"{weights} learned from the split {split!r} of {archive.name}, which shares frames with {view.split!r}: "
            "the network is too sure there; choose a split that it did not learn from, such as valid"
        )


def read_network(
    path: Path, zr: ZR, *, precision: str = "float32", device: str = "cpu"
) -> tuple[FlowNet, dict[str, torch.Tensor], dict[str, Any]]:
    """Read a network from a checkpoint.

    Args:
        path: The checkpoint of a training, or a file that :func:`calibrate_network` wrote.
        zr: Relation of level to rain rate that it is used with.
        precision: As of :func:`build_flow_net`.
        device: As of :func:`build_flow_net`.

    Returns:
        The network, the tensors that it was read from ("net." and, if it is calibrated, "counts"), and the metadata.

    Raises:
        MissingCheckpointError: If there is no such file.
        CheckpointError: If it is damaged or does not fit.
        OptionError: If torch cannot use the device here.
    """
    net = build_flow_net(zr, precision=precision, device=device)
    tensors, found = checkpoint.read(path)
    check_metadata(found, net.metadata, path)
    checkpoint.fill(net, checkpoint.under("net", tensors), path)
    kept = {name: tensor for name, tensor in tensors.items() if name.startswith("net.") or name == "counts"}
    if "counts" in kept and kept["counts"].shape != (LEADS, reliability.EVENTS, reliability.BINS, 2):
        raise checkpoint.CheckpointError(f"{path} has counts of another form: calibrate the network again")
    return net, kept, found


def read_counts(tensors: dict[str, torch.Tensor], path: Path, task: Task) -> reliability.Counts:
    """The counts of a mean sequence, (K, 5, B, 2) at the lead times of ``task``, in locations of its grid.

    Raises:
        OptionError: If ``tensors``, of the checkpoint at ``path``, have none.
    """
    if "counts" not in tensors:
        raise OptionError(f"{path} is not calibrated: hko7env calibrate --network {path} makes a file that is")
    stored = tensors["counts"].numpy()
    flat = resample_leads(stored.reshape(len(stored), -1, 2), STEP, task.cadence, task.leads)
    cells = -(-task.height // reliability.STEP) * -(-task.width // reliability.STEP)
    return np.asarray(flat.reshape(task.leads, *stored.shape[1:]) * cells, np.float32)


def count_archive(view: SplitView, net: FlowNet, weights: str, cache: Path) -> npt.NDArray[np.float64]:
    """Count all sequences of a split, from where an earlier call stopped.

    Args:
        view: The split.
        net: The network.
        weights: Digest of its weights.
        cache: Folder of the counts.

    Returns:
        (K, 5, B, 2) float64; the K lead times of the archive reach at least two hours.

    Raises:
        ValueError: If the split has no sequence, or the file in ``cache`` is damaged.
        OSError: If a file cannot be read or written.
    """
    archive, total = view.archive, len(view.schedule)
    if not total:
        raise ValueError(f"{archive.name}, split {view.split}, holds no sequence: choose another split")
    leads = -(-LEADS * STEP // archive.cadence)
    task = Task(INPUTS, leads, *archive.shape, archive.cadence, archive.scored, archive.zr)
    code = kept_counts.digest_code((variational, segment_motion, segment_advection, flow_net, reliability))
    identity = [archive.fingerprint, view.split, view.schedule.sha256, weights, code]
    file = kept_counts.locate(cache, identity, "network-")
    counts, done = _load(file, leads)
    with progress.bar(total, f"counting {archive.name}", "seq", done=done) as bar:
        for index in range(done, total):
            _count_sequence(counts, view, net, task, index)
            bar.update()
            if (index + 1) % PART == 0 or index + 1 == total:
                kept_counts.write(file, {"counts": counts, "done": index + 1})
    return counts


def _count_sequence(counts: npt.NDArray[np.float64], view: SplitView, net: FlowNet, task: Task, index: int) -> None:
    slots = view.schedule.slots(index)[0] + task.cadence * np.arange(INPUTS + task.leads)
    frames, present = view.frames_at(slots)
    for leads, corrected in correct_frames(net, np.stack(frames[:INPUTS]), present[:INPUTS], task):
        bins = reliability.find_bins(corrected.logits).cpu().numpy()
        for lead, own in zip(range(leads.start, leads.stop), bins, strict=True):
            truth = frames[INPUTS + lead]
            if present[INPUTS + lead]:
                counts[lead] += reliability.count(own, truth, scored(truth, task.scored), task.zr)


def _load(file: Path, leads: int) -> tuple[npt.NDArray[np.float64], int]:
    """The counts in ``file`` and the number of their sequences, or zeros."""
    kept = kept_counts.read(file, ("counts", "done"))
    if kept is None:
        return np.zeros((leads, reliability.EVENTS, reliability.BINS, 2)), 0
    return kept["counts"], int(kept["done"])
