"""What is said of what cannot be used: in one line, and the same in another process."""

import importlib
import inspect
import pickle
import pkgutil

import dreem_case
from dreem_case.core.errors import Unusable


def errors_of_the_package():
    """Yield every class of error that a module of the package defines."""
    for found in pkgutil.walk_packages(dreem_case.__path__, "dreem_case."):
        module = importlib.import_module(found.name)
        for kind in vars(module).values():
            if inspect.isclass(kind) and issubclass(kind, BaseException) and kind.__module__ == module.__name__:
                yield kind


def an_error(kind):
    """Make an error with a text for each argument that has to be given."""
    _, *asked = inspect.signature(kind.__init__).parameters.values()
    return kind(*(one.name for one in asked if one.default is one.empty and one.kind is one.POSITIONAL_OR_KEYWORD))


def test_an_error_of_a_worker_is_the_same_where_it_arrives():
    made = [an_error(kind) for kind in errors_of_the_package()]
    assert len(made) > 50
    for error in made:
        there = pickle.loads(pickle.dumps(error))
        assert (type(there), str(there), vars(there)) == (type(error), str(error), vars(error))


def test_a_name_that_a_stranger_chose_stays_in_its_line_and_is_cut():
    error = Unusable("Zoë\n\x1b[2J" + 1000 * "x", "a night", "none")
    assert str(error) == f"Zoë??[2J{192 * 'x'}: expected a night, found none"
