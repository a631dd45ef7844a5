"""Where tasks run: threads, processes, Dask and Slurm."""
