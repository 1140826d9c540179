"""From run folders to results: rows (collect.py, csv_files.py, rows.py), figures, verdicts on the paper's claims, and pages (report.py,
scoreboard.py). Everything but collect.py reads CSV files alone."""
