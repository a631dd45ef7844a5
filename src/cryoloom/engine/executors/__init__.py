"""Executors of tasks: threads, processes, Dask and Slurm."""
