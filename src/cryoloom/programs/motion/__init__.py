"""Motion correction by outside programs."""
