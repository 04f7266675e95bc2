"""``python -m vgharness.bench``: measures speed on this machine, and judges a gallery of models."""

from vgharness.cli.bench import main

if __name__ == "__main__":
    main()
