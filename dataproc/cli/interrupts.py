"""Ctrl-C for the programs of this package."""

import signal


def heed_interrupts() -> None:
    """Let SIGINT raise `KeyboardInterrupt`, also in a program that was started with the signal ignored.

    Python leaves an ignored SIGINT ignored. A shell without job control (cron, `nohup sh -c`) ignores it in everything
    that it starts in the background, so that such a program would not end.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
