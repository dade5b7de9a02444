"""Reads docker/compose.yaml as an engine does, so far as the test of the containers needs it.

compose.py environment SERVICE   a line NAME=value for each variable of a service; variables are taken from the environment
compose.py volumes SERVICE       a line for each of its volumes, as they stand there
compose.py healthy SERVICE       the command by which an engine sees that it is well
"""

import os
import re
import sys

import yaml

VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


def filled_in(text):
    """With the variables of the environment; ends where one is missing that has to be there."""

    def value(match):
        name, kind, rest = match.groups()
        if os.environ.get(name):
            return os.environ[name]
        if kind == "?":
            sys.exit(f"{name} is missing: {rest}")
        return rest or ""

    return VARIABLE.sub(value, str(text))


def main(what, name):
    with open(os.path.join(os.path.dirname(__file__), "../../docker/compose.yaml"), encoding="utf-8") as file:
        service = yaml.safe_load(file)["services"][name]
    if what == "environment":
        for variable, text in service["environment"].items():
            print(f"{variable}={filled_in(text)}")
    elif what == "volumes":
        print(*service["volumes"], sep="\n")
    elif what == "healthy":
        print(service["healthcheck"]["test"][1])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(*sys.argv[1:])
