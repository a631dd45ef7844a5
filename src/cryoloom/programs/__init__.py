"""Steps done by outside programs, beside the native ones (decision 21). A room for each kind of work."""
