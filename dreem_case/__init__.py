"""Sleep staging from a headband; here are the names for its main job, each loaded when it is first asked for."""

from importlib import import_module

__version__ = "0.1.0"
_FROM = {
    "Night": "nights.night",
    "Signal": "nights.night",
    "load_stager": "staging.stagers",
    "open_store": "nights.store",
    "score_night": "staging.score",
}
__all__ = ["__version__", *_FROM]


def __getattr__(name: str):
    if name not in _FROM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_FROM[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_FROM})
