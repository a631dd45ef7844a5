"""Work that steps share: it calls algorithms and reports through the step's context, but it is no step."""
