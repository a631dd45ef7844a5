"""Requests: workflows, their parameters, and the plan for raw data."""
