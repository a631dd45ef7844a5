"""One file per outside format: the only code that knows foreign units, axis orders and signs."""
