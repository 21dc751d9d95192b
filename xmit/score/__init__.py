"""Score prediction files in XTREME's submission layout, and write such files from runs."""
