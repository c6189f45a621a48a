"""What a file is, from its bytes alone; nothing is opened, unpickled or run."""
