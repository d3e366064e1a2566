"""muster.memory: what a board needs for a moment only. A laptop keeps it all."""

import sys

import muster
from agent_world import HOUR, started
from helpers import raises, replaced
from muster import memory
from muster.net import wait

KEEPS = sys.implementation.name == "cpython"
FOR_A_STEP = ("heartbeat", "store", "clouds", "clouds.chinamobile", "net.foreign")


def is_loaded(name):
    return "muster." + name in sys.modules


def load(name):
    __import__("muster." + name)


def forget(*names):
    if not KEEPS:  # in CPython all tests share them
        for name in names:
            sys.modules.pop("muster." + name, None)


class NoFiles:
    """A file system that counts what is looked for in it."""

    looks = 0

    def mount(self, readonly, mkfs):
        pass

    def umount(self):
        pass

    def stat(self, path):
        self.looks += 1
        raise OSError(2)


def test_a_built_in_module_is_not_looked_for_on_flash():
    if KEEPS:
        return
    import vfs

    files = NoFiles()
    vfs.mount(files, "/none")
    sys.path.insert(0, "/none")
    try:
        for name in ("binascii", "io", "json", "struct"):
            __import__(name)
        assert not files.looks
        raises(ImportError, __import__, "no_such_module")
        assert files.looks
    finally:
        sys.path.pop(0)
        vfs.umount("/none")


def test_what_a_call_loads_leaves_the_memory_again():
    forget("cmei", "sse")
    load("sse")
    memory.call(load, "cmei")
    assert is_loaded("cmei") == KEEPS and ("cmei" in muster.__dict__) == KEEPS
    memory.call(load, "sse")
    assert is_loaded("sse")  # it was there before
    assert memory.call(max, 3, 4) == 4
    raises(ImportError, memory.call, load, "no_such_module")
    assert not is_loaded("no_such_module")


def test_what_a_generator_loads_leaves_the_memory_again_and_what_the_program_loads_meanwhile_stays():
    def generator(fails):
        load("cmei")
        yield wait.TURN
        load("net.redirect")
        yield wait.TURN
        load("hmac")
        if fails:
            raise ValueError
        return "done"

    for fails in (False, True):
        forget("cmei", "sse", "net.redirect", "hmac")
        borrowing = memory.borrow(generator, fails)
        assert next(borrowing) is wait.TURN and is_loaded("cmei")
        load("sse")
        assert next(borrowing) is wait.TURN and is_loaded("net.redirect")
        if fails:
            raises(ValueError, next, borrowing)
        else:
            assert wait.run(borrowing) == "done"
        assert is_loaded("sse")
        for name in ("cmei", "net.redirect", "hmac"):
            assert is_loaded(name) == KEEPS, name
        load("net.redirect")  # and can be loaded again
        assert sys.modules["muster.net.redirect"] is sys.modules["muster.net"].redirect


def test_what_a_generator_loads_in_place_of_what_it_lets_go_of_leaves_too():
    def generator():
        load("hmac")
        yield wait.TURN
        memory.unload("muster.hmac")
        load("cmei")  # as many as before
        yield wait.TURN

    forget("cmei", "hmac")
    wait.run(memory.borrow(generator))
    assert is_loaded("cmei") == is_loaded("hmac") == KEEPS


def test_a_generator_that_is_left_is_closed_and_what_it_loaded_leaves_too():
    ended = []

    def generator():
        try:
            load("cmei")
            yield wait.WAIT
        finally:
            ended.append(1)

    forget("cmei", "sse")
    borrowing = memory.borrow(generator)
    next(borrowing)
    load("sse")
    borrowing.close()
    assert ended == [1] and is_loaded("cmei") == KEEPS and is_loaded("sse")


def test_what_a_step_loads_is_gone_between_two_of_them():
    forget(*FOR_A_STEP)
    world, agent = started()
    for reports in (1, 2):
        agent.step()
        assert agent.status()["reports"] == reports
        assert [name for name in FOR_A_STEP if is_loaded(name)] == (list(FOR_A_STEP) if KEEPS else [])
        world.clock.time += 13 * HOUR
    agent.report()
    agent.enrol()
    assert [name for name in FOR_A_STEP if is_loaded(name)] == (list(FOR_A_STEP) if KEEPS else [])
    assert is_loaded("errors") and is_loaded("log") and is_loaded("clock")


def test_a_step_without_the_memory_to_count_modules_is_one_that_failed():
    world, agent = started()

    def count(*_):
        raise MemoryError

    from muster import agent as agents

    with replaced(agents, borrow=count):
        assert agent.step() <= 30 and agent.status()["failures"] == 1
    world.clock.time += HOUR
    agent.step()
    assert agent.status()["reports"] == 1
