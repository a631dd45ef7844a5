"""Central slices of a volume's Fourier transform: taking, adding, scoring."""
