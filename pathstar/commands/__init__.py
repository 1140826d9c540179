"""One thin module a command: it reads the command line, calls, and prints. `main(argv)` returns the exit status; nothing imports them but
cli.py."""
