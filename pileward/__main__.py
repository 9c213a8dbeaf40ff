"""`python -m pileward` is `pileward`."""

from pileward.cli import main

if __name__ == "__main__":
    main()
