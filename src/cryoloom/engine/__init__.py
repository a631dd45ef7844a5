"""Plans, schedules, resumes and caches; the only code that reads, runs, writes and records."""
