"""The provider's process: the simulator on a port with a seed file, as `troth simulator` would run it."""

import sys
from datetime import UTC, datetime
from pathlib import Path

from integrations.simulator.server import serve

if __name__ == "__main__":
    serve(port=int(sys.argv[1]), seed_path=Path(sys.argv[2]), clock=lambda: datetime.now(UTC))
