"""Commands that show what a project holds: status, results, reports, the log, comparisons of runs."""
