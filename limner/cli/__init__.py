"""The command line: one file per verb, each with `main(argv) -> int`."""
