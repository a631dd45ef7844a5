"""History: results, runs, provenance and the text for a methods section."""
