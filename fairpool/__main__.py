"""``python -m fairpool`` is the command `fairpool`."""

from fairpool.cli import main

if __name__ == "__main__":
    main()
