"""Which file system holds a path, from Linux's table of mounts."""

from __future__ import annotations

import re
from pathlib import Path

_FUSE = ("ceph", "gcsfuse", "glusterfs", "juicefs", "rclone", "s3fs", "sshfs")
_KERNEL = ("afs", "beegfs", "ceph", "cifs", "coda", "glusterfs", "gpfs", "lustre", "nfs", "nfs4", "smb3", "smbfs")
NETWORK = frozenset(_KERNEL).union(f"fuse.{name}" for name in _FUSE)
"""File systems whose locks or caches SQLite cannot rely on."""

_TABLE = Path("/proc/self/mountinfo")


def network_file_system(path: Path) -> str | None:
    """Return the type of the network file system that holds the path, or None; needs Linux to find one."""
    try:
        mounts = _TABLE.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None
    kind = file_system(path, mounts)
    return kind if kind in NETWORK else None


def file_system(path: Path, mounts: str) -> str | None:
    """Return the file system type of an absolute path in the text of ``/proc/<pid>/mountinfo``.

    Format: proc_pid_mountinfo(5). The fifth field is the mount point; the type follows the lone ``-``. Of two
    mounts on one point the later hides the earlier.
    """
    found, depth = None, 0
    for line in mounts.splitlines():
        fields = line.split(" ")
        point = Path(_unescape(fields[4]))
        if path.is_relative_to(point) and len(point.parts) >= depth:
            found, depth = fields[fields.index("-", 6) + 1], len(point.parts)
    return found


def _unescape(text: str) -> str:
    r"""Turn the octal escapes of space, tab, newline and backslash (``\040``) back."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
