"""Results of programs that estimate the CTF."""
