"""AreTomo's files."""
