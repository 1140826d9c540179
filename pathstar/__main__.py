"""`python -m pathstar`, the same as the command `pathstar`."""

import sys

from pathstar.commands.cli import main

if __name__ == "__main__":
  sys.exit(main())
