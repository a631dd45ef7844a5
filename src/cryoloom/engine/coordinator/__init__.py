"""The one process that plans, distributes tasks and writes the database."""
