"""The command line: one command a file; arguments in, nothing else."""
