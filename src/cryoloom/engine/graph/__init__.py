"""What is asked for: workflows, their parameters, and the plan for raw data."""
