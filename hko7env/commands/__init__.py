"""The subcommands of ``hko7env``; each module has ``main(arguments) -> exit status``."""
