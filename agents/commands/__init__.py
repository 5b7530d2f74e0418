"""The subcommands of ``hko7env`` that need the networks; each module has ``main(arguments) -> exit status``."""
