"""The web application: see, judge, correct, pick and run in a browser."""
