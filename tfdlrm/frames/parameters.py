"""The conventions of scikit-learn that need nothing of it."""

import inspect
from typing import Any, Self

from tfdlrm.base.errors import InputError
from tfdlrm.base.nearest import did_you_mean


class Parameters:
    """Parameters of an estimator: the arguments of its `__init__`, kept as they are."""

    @classmethod
    def _names(cls) -> list[str]:
        _, *names = inspect.signature(cls.__init__).parameters
        return names

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name; none is an estimator, whatever `deep` is."""
        del deep
        return {name: getattr(self, name) for name in self._names()}

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name.

        Raises:
            InputError: If there is no such parameter.
        """
        names = self._names()
        for name, value in params.items():
            if name not in names:
                raise InputError(
                    f"{name} is no parameter of {type(self).__name__}, expected one of "
                    f"{', '.join(names)}{did_you_mean(name, names)}"
                )
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        parameters = inspect.signature(type(self).__init__).parameters
        others = [
            f"{name}={value!r}"
            for name, value in self.get_params().items()
            if value is not parameters[name].default
        ]
        return f"{type(self).__name__}({', '.join(others)})"
