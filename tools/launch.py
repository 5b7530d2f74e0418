"""Start a command of ``hko7env`` from this working tree."""

import runpy
import sys
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent


def launch(name: str) -> NoReturn:
    """Run ``hko7env NAME`` with the arguments of this process, and exit with its status."""
    # The file is run by its path, because importing it would import hko7env, which takes half a second.
    importing = runpy.run_path(str(ROOT / "hko7env/commands/interrupts.py"))["importing"]
    with importing(f"hko7env {name}"):
        from hko7env.commands.main import main
    sys.exit(main([name, *sys.argv[1:]]))
