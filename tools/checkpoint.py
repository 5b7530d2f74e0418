"""``python tools/checkpoint.py pack FOLDER`` in a working tree is ``hko7env checkpoint pack FOLDER``."""

import sys
from pathlib import Path

if __name__ == "__main__":
    # This working tree, whatever else is installed as `agents`; then the user's own modules.
    sys.path[:1] = [str(Path(__file__).resolve().parent.parent), str(Path.cwd())]

    from tools.launch import launch

    launch("checkpoint")
