"""The few hot loops, twice: numba for CPU and Triton for GPU, one signature, one test."""
