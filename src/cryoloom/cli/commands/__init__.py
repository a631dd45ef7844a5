"""One command per file; each file has a function, or a group of commands, of the same name."""
