"""Commands that record decisions of users: the tilts and series to use, comments, undo."""
