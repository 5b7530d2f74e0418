"""Commands to be run from a copy of the repository; the package does not import them."""
