"""System calls that nothing in a sandbox needs and no mount or limit holds: those of the kernel's key rings.

A program inherits the key ring of the session from whoever started it. What the instructor's own holds (a
ticket of Kerberos, say) could be read in every sandbox, and what one student leaves there by the next. A
filter answers these three calls with "not implemented".
"""

from __future__ import annotations

import platform
import struct

# machine -> (its number in linux/audit.h, the first of add_key, request_key, keyctl, which follow each other)
MACHINES = {"x86_64": (0xC000003E, 248), "aarch64": (0xC00000B7, 217), "riscv64": (0xC00000F3, 217)}
LOAD, AND, EQUAL, AT_LEAST, RETURN = 0x20, 0x54, 0x15, 0x35, 0x06  # instructions of linux/bpf_common.h
ALLOW, NOT_IMPLEMENTED = 0x7FFF0000, 0x00050000 | 38  # linux/seccomp.h, with ENOSYS


def without_keys() -> bytes:
    """The filter as `bwrap --seccomp` reads it; nothing for a machine whose numbers are not known here.

    Programs of another kind than the machine's own (32 bits) can call nothing.
    """
    if platform.machine() not in MACHINES:
        return b""
    machine, first = MACHINES[platform.machine()]
    program = [
        (LOAD, 0, 0, 4),  # the kind of machine
        (EQUAL, 0, 5, machine),
        (LOAD, 0, 0, 0),  # the call's number
        (AND, 0, 0, 0xBFFFFFFF),  # without the bit of x32
        (AT_LEAST, 0, 1, first),
        (AT_LEAST, 0, 1, first + 3),
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, NOT_IMPLEMENTED),
    ]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
