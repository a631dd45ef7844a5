"""One item through one step: the task, its context, gates and partial results."""
