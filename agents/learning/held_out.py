"""Splits to learn from and to validate on: they hold no frame of a test split."""

import numpy as np

from hko7env.archive import Archive
from hko7env.split_view import SplitView


def open_split(archive: Archive, split: str, option: str) -> SplitView:
    """Open a split for a training.

    Scores of a checkpoint that learned from test frames, or was chosen on them, show no skill.

    Args:
        archive: The archive.
        split: One of its splits, or all.
        option: What the split is for, as an option of the training: "split" or "valid".

    Raises:
        ValueError: If there is no such split, or it holds frames of a split whose name begins with "test".
    """
    view = SplitView(archive, split)
    tests = [name for name in archive.splits if name.startswith("test")]
    for test in tests:
        if np.isin(archive.select(test), view.times).any():
            others = [name for name in archive.splits if name not in tests]
            if option == "valid":
                others.append("none")
            raise ValueError(
                f"{option} {split!r} holds frames of the split {test!r} of {archive.name}, which is kept for "
                f"evaluation: choose {' or '.join(map(repr, others)) or 'another archive'}"
            )
    return view
