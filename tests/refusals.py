"""What `check_burn_in` says of a network that it refuses."""

from typing import Any

import pytest

from r2d2.burn_in_check import BurnInError, check_burn_in


def faults_of(network: Any, *arguments: Any, **options: Any) -> BurnInError:
    with pytest.raises(BurnInError) as caught:
        check_burn_in(network, *arguments, **options)
    return caught.value


def names(error: BurnInError) -> list[str]:
    return [fault.property for fault in error.faults]
