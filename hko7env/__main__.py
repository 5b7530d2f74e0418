"""``python -m hko7env`` is the command ``hko7env``."""

import sys

from hko7env.commands.main import main

if __name__ == "__main__":
    sys.exit(main())
