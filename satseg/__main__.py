"""Run the command line: ``python -m satseg``."""

from satseg.cli.app import main

if __name__ == "__main__":
    main()
