"""One command a file; a file has a function, or a group of commands, of its own name."""
