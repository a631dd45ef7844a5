"""Steps done by outside programs, beside the native ones (decision 20). A room for each kind of work."""
