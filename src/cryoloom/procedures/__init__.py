"""Work that steps share and that needs a step's context: it calls algorithms and reports results."""
