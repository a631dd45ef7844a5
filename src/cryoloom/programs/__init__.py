"""Steps that run outside programs, next to the native ones (decision 21): a folder for each kind of work."""
