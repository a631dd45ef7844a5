"""The web application: view, evaluate, correct, pick and run in a browser."""
