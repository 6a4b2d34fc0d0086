"""``python -m qa_lightning``."""

import sys

from qa_lightning.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
