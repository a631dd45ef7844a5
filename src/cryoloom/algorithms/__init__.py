"""Arrays in, arrays out: the numerics of cryo-ET in PyTorch and NumPy. Nothing here opens a file."""
