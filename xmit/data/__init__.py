"""From files and hubs to batches."""
