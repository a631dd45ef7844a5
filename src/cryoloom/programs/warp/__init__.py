"""WarpTools: motion and CTF of movies, CTF of tilt series."""
