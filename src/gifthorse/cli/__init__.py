"""The command line: options to objects, objects to files and an exit code. One command, one file."""
