"""`python -m napari_cardioseg.cli`, the same as `napari-cardioseg`."""

import sys

from napari_cardioseg.cli.program import main

sys.exit(main())
