"""Stops one thread of a process until the process or this program ends, as if it hung: hang.py PROCESS THREAD-NAME

A signal would stop the whole process; ptrace(2) stops one thread. Takes root, and says `hung` when it is done.
"""

import ctypes
import os
import pathlib
import sys

WALL = 0x40000000
PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4206, 0x4207


def main(process, name):
    tasks = pathlib.Path(f"/proc/{process}/task").iterdir()
    threads = [int(task.name) for task in tasks if (task / "comm").read_text().strip() == name]
    if not threads:
        sys.exit(f"process {process} has no thread {name}")
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    for request in (PTRACE_SEIZE, PTRACE_INTERRUPT):
        if libc.ptrace(request, threads[0], 0, 0) != 0:
            sys.exit(f"ptrace: error {ctypes.get_errno()}")
    os.waitpid(threads[0], WALL)
    print("hung", flush=True)
    # The thread is ours to bury: until then its process could not end.
    os.waitpid(threads[0], WALL)


main(*sys.argv[1:])
