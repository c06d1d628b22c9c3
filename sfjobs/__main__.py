"""``python -m sfjobs`` is the command ``sfjobs``."""

from .cli import main

if __name__ == "__main__":
    main()
