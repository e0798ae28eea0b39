"""An agent of libvarta-secure as applications have it: the shared libraries,
and what they export. Run as a program by test_secure_agent.py:

    sealed_agent.py LIBRARY ADDRESS shared|master KEYFILE COMMAND...

beat: one beat. fork: the next command in a child, waited for. reconnect.
reopen: close the agent and open another. crash: install the handler for last
words, and die of SIGSEGV. family: install it, and beat and say last words in
this process, in children and grandchildren. Ends with the negative of the first
code that is one, printed."""

import ctypes
import os
import signal
import subprocess
import sys

FAULTS = 1
SYS_CLONE = {"x86_64": 56, "aarch64": 220}.get(os.uname().machine)


def must(what, code):
    if code != 0:
        print(f"{what}: {code}", flush=True)
        os._exit(1)


def raw_clone():
    """As os.fork(), past the C library and its handlers."""
    if SYS_CLONE is None:
        return os.fork()
    return ctypes.CDLL(None).syscall(SYS_CLONE, int(signal.SIGCHLD), 0, 0, 0, 0)


def family(secure, agent):
    """Two beats each, with the last word between them."""

    def beat():
        must("beat", secure.varta_beat(agent, 0, ctypes.c_uint32(7)))

    def speak():
        beat()
        must("word", secure.varta_crash_frame_send(ctypes.c_uint32(7)))
        beat()

    def child_of(way, live):
        child = way()
        if child == 0:
            live()
            os._exit(0)
        assert os.waitpid(child, 0) == (child, 0)

    def live_with_children():
        speak()
        child_of(os.fork, speak)
        child_of(raw_clone, speak)

    speak()
    child_of(os.fork, live_with_children)
    beat()
    child_of(raw_clone, live_with_children)
    beat()
    # Another program in a child of vfork(2) opens its own.
    words = [sys.executable, *sys.argv]
    words[words.index("family")] = "beat"
    subprocess.run(words, check=True, close_fds=False)
    beat()


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
        elif command == "family":
            must(command, installs(address, key_file, FAULTS))
            family(secure, agent)
        elif command == "crash":
            must(command, installs(address, key_file, FAULTS))
            os.kill(os.getpid(), signal.SIGSEGV)
    secure.varta_close(agent)


if __name__ == "__main__":
    main(*sys.argv[1:])
