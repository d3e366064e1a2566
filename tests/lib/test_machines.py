import sys


def test_a_test_runs_on_the_machine_that_its_name_says(machine):
    assert sys.implementation.name == machine.lower()
