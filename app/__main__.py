"""`python -m app`: the command line, which `candlewire` is too where the package is installed."""

from app.cli.commands import main

if __name__ == "__main__":
    main()
