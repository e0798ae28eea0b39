"""An agent of libvarta-secure as applications have it: the shared libraries,
and what they export. Run as a program by test_secure_agent.py:

    sealed_agent.py LIBRARY ADDRESS shared|master KEYFILE COMMAND...

beat: one beat. fork: the next command in a child, waited for. reconnect.
reopen: close the agent and open another. crash: install the handler for last
words, and die of SIGSEGV. Ends with the negative of the first code that is one,
printed."""

import ctypes
import os
import signal
import sys

FAULTS = 1


def must(what, code):
    if code != 0:
        print(f"{what}: {code}", flush=True)
        os._exit(1)


def main(library, address, kind, key_file, *commands):
    secure = ctypes.CDLL(library)
    agent = ctypes.c_void_p()
    address, key_file = address.encode(), key_file.encode()
    opens = getattr(secure, f"varta_secure_open_{kind}_file")
    installs = getattr(secure, f"varta_secure_crash_handler_install_{kind}_file")
    must("open", opens(address, key_file, ctypes.byref(agent)))
    commands = list(commands)
    while commands:
        command = commands.pop(0)
        if command == "beat":
            must(command, secure.varta_beat(agent, 0, ctypes.c_uint32(7)))
        elif command == "reconnect":
            must(command, secure.varta_reconnect(agent))
        elif command == "reopen":
            secure.varta_close(agent)
            must(command, opens(address, key_file, ctypes.byref(agent)))
        elif command == "fork":
            child = os.fork()
            if child == 0:
                commands = commands[:1]
                continue
            assert os.waitpid(child, 0) == (child, 0)
            commands.pop(0)
        elif command == "crash":
            must(command, installs(address, key_file, FAULTS))
            os.kill(os.getpid(), signal.SIGSEGV)
    secure.varta_close(agent)


if __name__ == "__main__":
    main(*sys.argv[1:])
