"""`python -m tapml_tui`."""

from tapml_tui.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
