"""``python -m hostel`` is ``hostel``."""

from hostel.cli import main

if __name__ == "__main__":
    main()
