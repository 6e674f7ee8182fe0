"""What a run shows: a summary table in the terminal, and figures."""
