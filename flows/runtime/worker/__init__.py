"""The in-process Prefect worker, and the deployments that it serves."""
