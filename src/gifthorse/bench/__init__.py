"""The side-by-side bench: attacks against defences in cells that are measured once, kept, and shown in one table."""
