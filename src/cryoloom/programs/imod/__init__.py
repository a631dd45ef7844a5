"""Programs of IMOD."""
