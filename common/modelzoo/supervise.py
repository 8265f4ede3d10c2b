"""Run child processes to their end: signals are passed on, and one that fails stops the others.

Standard library alone, Python 3.7: `modelarts_entry.py` uses it before the zoo's packages exist.
"""

import contextlib
import functools
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Callable, NamedTuple, Optional

_current = None  # the supervisor whose signals are held while this process forks


class Child(NamedTuple):
    """A process to start.

    `log` is a file to which its output is added; `prefix` is put before each line of its output;
    with neither it writes where the supervisor does. When it fails its name is told, if it has one.
    """

    command: list
    environment: Optional[dict] = None
    name: str = ""
    log: Optional[Path] = None
    prefix: str = ""


class Supervisor:
    """`with Supervisor() as supervisor: status = supervisor.run(children)`, in the main thread.

    Within `with` the first SIGTERM, SIGINT or SIGHUP is passed on to all children, and no more are
    started; a second one kills them. After their end a signal does nothing, so that results can
    still be copied.
    """

    def __init__(self):
        self._running, self._copying, self._told = {}, [], 0
        self._ended, self._lock = queue.Queue(), threading.Lock()

    def __enter__(self):
        global _current
        numbers = [signal.SIGTERM, signal.SIGINT]
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # which nohup wants to stay
            numbers.append(signal.SIGHUP)
        self._before = {number: signal.signal(number, self._pass_on) for number in numbers}
        _hold_signals_while_forking()
        _current = self
        return self

    def __exit__(self, *_):
        global _current
        self._signal(signal.SIGTERM)
        for process in list(self._running):
            process.wait()
        _current = None
        self.restore_signals()

    def restore_signals(self):
        """Handle signals as before `with`."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def run(self, children: list, grace: float = 60,
            call: Optional[Callable[[], None]] = None, every: Optional[float] = None) -> int:
        """Start the children and wait for all of them.

        Args:
            children: what to start, each in a session of its own and without input.
            grace: seconds from SIGTERM to SIGKILL for those that remain when one has failed. After
                a signal from outside they may take their time.
            call, every: a function, and after how many seconds it is called again and again.

        Returns:
            0, or the status of the child that failed first, 128 + N where signal N ended it.
        """
        status, kill_at, call_at = 0, None, time.monotonic() + every if call else None
        for child in children:
            if self._told:
                status = 128 + self._told
                break
            self._start(child)
        while self._running:
            due = min((at for at in (kill_at, call_at) if at is not None), default=None)
            try:
                timeout = None if due is None else max(0, due - time.monotonic())
                process = self._ended.get(timeout=timeout)
            except queue.Empty:
                if due == kill_at:
                    left = ", ".join(child.name for child in self._running.values())
                    self._say(f"error: still running after {grace:g} s, so killed: {left}")
                    self._signal(signal.SIGKILL)
                    kill_at = None
                else:
                    call()
                    call_at = time.monotonic() + every
                continue
            child = self._running.pop(process)
            if process.returncode and not status:
                code = process.returncode
                status = code if code > 0 else 128 - code
                if not self._told:
                    self._tell(child, code, len(children) > 1)
                    self._signal(signal.SIGTERM)
                    kill_at = time.monotonic() + grace
        for thread in self._copying:
            thread.join()
        return status

    def _start(self, child):
        output = subprocess.PIPE if child.prefix else None
        with contextlib.ExitStack() as stack:
            if child.log:
                output = stack.enter_context(open(str(child.log), "ab"))
            # In the caller's session Ctrl-C would reach it twice, and the second one kills.
            process = subprocess.Popen(
                list(child.command), env=child.environment, stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT if child.log else output, start_new_session=True)
        self._running[process] = child
        if self._told:  # a signal came while it was being started
            self._signal(self._told)
        _in_background(self._await, process)
        if child.prefix:
            self._copying += [
                _in_background(self._copy, child.prefix, process.stdout, sys.stdout),
                _in_background(self._copy, child.prefix, process.stderr, sys.stderr)]

    def _await(self, process):
        process.wait()
        self._ended.put(process)

    def _pass_on(self, number, _):
        self._signal(signal.SIGKILL if self._told else number)
        self._told = number

    def _signal(self, number):
        for process in list(self._running):
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                process.send_signal(number)

    def _tell(self, child, code, others):
        """Say which child failed first, after the end of its log."""
        if child.log:
            self._say(last_lines(child.log))
        if not child.name:
            return
        how = f"ended with status {code}" if code > 0 else (
            f"was killed by {signal.Signals(-code).name}")
        self._say(f"error: {child.name} {how}" + "; stopping the others" * others
                  + (f"; see {child.log}" if child.log else ""))

    def _say(self, text):
        with self._lock:
            print(text, file=sys.stderr, flush=True)

    def _copy(self, prefix, source, target):
        """Copy lines, and the states of progress bars, with a prefix before each."""
        rest = b""
        while True:
            chunk = os.read(source.fileno(), 65536)
            *lines, rest = (rest + chunk).replace(b"\r", b"\n").split(b"\n")
            if not chunk and rest:
                lines.append(rest)
            text = "".join(f"{prefix}{line.decode(errors='replace')}\n" for line in lines
                           if line.strip())
            with self._lock:
                target.write(text)
                target.flush()
            if not chunk:
                return


def last_lines(log: Path, count: int = 3) -> str:
    """The last lines of a text file, without the line break at the end."""
    lines = Path(log).read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-count:])


def _in_background(function, *arguments):
    thread = threading.Thread(target=function, args=arguments, daemon=True)
    thread.start()
    return thread


@functools.lru_cache(1)
def _hold_signals_while_forking():
    """Let a pool of processes that `call` makes, as moxing does, keep its own signal handlers.

    A pool ends its processes by SIGTERM. Python drops a signal that a fork's handler takes before
    Python is set up there, and the pool would wait for ever.
    """
    def mask(how):
        if _current:
            signal.pthread_sigmask(how, _current._before)

    def in_child():
        if _current:
            _current.restore_signals()
        mask(signal.SIG_UNBLOCK)

    os.register_at_fork(before=lambda: mask(signal.SIG_BLOCK), after_in_child=in_child,
                        after_in_parent=lambda: mask(signal.SIG_UNBLOCK))
