"""Studies: a plan of runs (intermediate × target × seed), carried out and collected."""
