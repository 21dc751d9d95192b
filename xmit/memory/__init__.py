"""Memory of a device before anything runs on it; ``python -m xmit.memory`` prints the table of docs/memory.md."""
