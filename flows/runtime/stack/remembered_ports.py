"""The ports of one state folder: the same from start to start, so that bookmarks and scripts stay right."""

import json
from pathlib import Path

from flows.runtime.stack.ports import HOST, PortClaims
from flows.runtime.stack.supervisor import Say

_FILE = "ports.json"


class StackPorts:
    """Claims a port for each process: the one of the last start where it is free."""

    def __init__(self, folder: Path, claims: PortClaims, say: Say) -> None:
        self._path, self._claims, self._say = folder / _FILE, claims, say
        self._ports = _read(self._path)

    def claim(self, name: str, preferred: int, scheme: str = "http") -> int:
        """A free port; says so where it is another than at the last start, or than the usual one at the first."""
        wanted = self._ports.get(name, preferred)
        port = self._claims.claim(wanted)
        if port != wanted:
            self._say(f"Port {wanted} is taken: {name} answers on {scheme}://{HOST}:{port} from now on")
        self._ports[name] = port
        return port

    def write(self) -> None:
        """Remember the claimed ports for the next start."""
        self._path.write_text(json.dumps(self._ports, indent=2) + "\n", encoding="utf-8")


def _read(path: Path) -> dict[str, int]:
    """The ports of the last start; none where the file is missing or broken."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): int(port) for name, port in found.items() if 0 < int(port) < 65_536}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
