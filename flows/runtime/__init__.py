"""How flows run: the command line, the one-machine stack, deploying, the in-process Prefect worker."""
