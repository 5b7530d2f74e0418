"""The subcommands of ``hko7env archive``, one module each; a new one is a module and a line of ``main.COMMANDS``."""
