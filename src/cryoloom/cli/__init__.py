"""The command line: a thin shell made from the steps' declarations."""
