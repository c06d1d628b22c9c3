"""Run the command ``sfjobs`` as ``python -m sfjobs``."""

from .cli import main

if __name__ == "__main__":
    main()
