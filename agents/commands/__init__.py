"""Commands that need networks; each module has ``main(arguments) -> exit status``."""
