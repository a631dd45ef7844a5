"""AreTomo: alignment, CTF and reconstruction."""
