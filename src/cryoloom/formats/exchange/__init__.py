"""What readers and writers of several programs share."""
