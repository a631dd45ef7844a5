"""CTF estimation by outside programs."""
