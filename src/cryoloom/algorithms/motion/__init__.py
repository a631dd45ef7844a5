"""Motion of the specimen within a movie."""
