"""``python -m vgharness``: the command ``vgharness``."""

from vgharness.cli.main import main

if __name__ == "__main__":
    main()
