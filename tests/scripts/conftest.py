"""Scripts are no package: their folder is put where modules are looked for."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "scripts"))
