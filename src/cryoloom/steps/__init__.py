"""What a user can run: one file a step. Files are found by looking into this folder; there is no list."""
