"""What a user can run: one step per file. Steps are found by listing this folder; there is no registry."""
