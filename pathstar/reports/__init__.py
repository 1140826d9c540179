"""From run folders to results: rows (rows.py, collect.py), figures, verdicts on the paper's claims, and pages (report.py, scoreboard.py).
Everything but collect.py reads CSV files alone."""
