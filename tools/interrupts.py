"""For the commands that still stand in this folder; see ``hko7env/commands/interrupts.py``."""

from hko7env.commands.interrupts import importing

__all__ = ["importing"]
