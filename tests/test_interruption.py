"""A signal that tells a process to end is not lost."""

import os
import signal
import weakref

import pytest

from fairpool import interruption


@pytest.fixture(autouse=True)
def handlers_as_before():
    before = {sign: signal.getsignal(sign) for sign in (signal.SIGINT, signal.SIGTERM)}
    yield
    interruption.install()  # forgets what was told
    for sign, handler in before.items():
        signal.signal(sign, handler)


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_it_is_raised_where_the_program_is(sign):
    interruption.install()
    interruption.check()
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), sign)
    with pytest.raises(KeyboardInterrupt):
        interruption.check()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_one_that_python_swallowed_is_raised_at_the_next_step():
    class Thing:
        pass

    interruption.install()
    thing = Thing()
    reference = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.SIGTERM))
    del thing  # the callback runs, the exception is ignored, and the program goes on
    assert reference() is None
    with pytest.raises(KeyboardInterrupt):
        interruption.check()
