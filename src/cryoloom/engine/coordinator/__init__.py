"""The one process that plans, hands out tasks and writes the database."""
