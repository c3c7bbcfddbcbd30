"""All steps of an LSTM, forward and backward, each as one compiled call; and one step of it, for acting.

The gradients of the weights are left to the caller, who forms each as one product over all steps. Gates are in Keras's
order (input, forget, cell, output).
"""

from typing import Any

import numpy as np
from numba import njit

from r2d2.activations import sigmoid, tanh
from r2d2.tiles import COLUMNS, ROWS, add_product, panels, round_up

BUILT_ON = {"activations.py": "a8327bdf714b", "tiles.py": "c8b0dd6bca76"}
"""What is compiled is kept on disk for the text of this file alone; with the hashes of what it takes in, this text is
another when they are."""

_one = np.float32(1.0)


@njit(cache=True, nogil=True, error_model="numpy")
def _check(fits: bool) -> None:
    if not fits:  # what would be read and written then is not of these arrays
        raise ValueError("inputs or a state have another width, or other rows, than the layer's weights ask for")


@njit(cache=True, nogil=True, error_model="numpy")
def _copy(values: Any, out: Any) -> None:
    # Faster than to assign to a slice, where the compiler has to think of arrays that overlap and of any stride.
    for i in range(len(out)):
        out[i] = values[i]


@njit(cache=True, nogil=True, error_model="numpy")
def _add(values: Any, out: Any) -> None:
    for i in range(len(values)):
        out[i] += values[i]


@njit(cache=True, nogil=True, error_model="numpy")
def forward(
    inputs: Any,
    lengths: Any,
    kernel: Any,
    recurrent: Any,
    bias: Any,
    hidden: Any,
    cell: Any,
    hiddens: Any,
    cells: Any,
    gates: Any,
) -> None:
    """Run all steps.

    Args:
        inputs: float32[B, T, F].
        lengths: int32[B], steps of each row, 0 to T; after them its state stays as it is.
        kernel, recurrent: float32[F, 4U] and [U, 4U].
        bias: float32[4U].
        hidden, cell: float32[B, U], state before the first step; is replaced by that after the last.
        hiddens: float32[B, T, U] to write the hidden state after each step to.
        cells: the same for the cell state, or of no steps if nobody asks for gradients.
        gates: float32[B, T, 4U] to write the gates to, after their activations; or of no steps.

    Raises:
        ValueError: the shapes do not fit together.
    """
    rows, time, units = hiddens.shape
    kept = gates.shape[1]
    _check(inputs.shape[:2] == (rows, time) and len(lengths) == rows and hidden.shape == cell.shape == (rows, units))
    _check(kernel.shape == (inputs.shape[2], 4 * units) and recurrent.shape == (units, 4 * units))
    _check(len(bias) == 4 * units and cells.shape == (rows, kept, units) and gates.shape == (rows, kept, 4 * units))
    of_inputs, of_state = panels(kernel), panels(recurrent)
    padded = round_up(rows, ROWS)
    read = np.zeros((padded, inputs.shape[2]), np.float32)
    state = np.zeros((padded, units), np.float32)
    work = np.zeros((padded, round_up(4 * units, COLUMNS)), np.float32)
    for b in range(rows):
        _copy(hidden[b], state[b])
    for t in range(time):
        for b in range(rows):
            _copy(inputs[b, t], read[b])
            _copy(bias, work[b, : 4 * units])
        add_product(work, read, of_inputs)
        add_product(work, state, of_state)
        for b in range(rows):
            if t < lengths[b]:
                _step(work[b], state[b], cell[b])
            _copy(state[b], hiddens[b, t])
            if t < kept:
                _copy(work[b], gates[b, t])
                _copy(cell[b], cells[b, t])
    for b in range(rows):
        _copy(state[b], hidden[b])


@njit(cache=True, nogil=True, error_model="numpy")
def one_step(inputs: Any, hidden: Any, cell: Any, kernel: Any, recurrent: Any, bias: Any) -> tuple[Any, Any]:
    """Hidden and cell states after one step.

    Args:
        inputs: float32[B, F], contiguous.
        hidden, cell: float32[B, U], state before the step.
        kernel, recurrent: `r2d2.tiles.panels` of the kernel [F, 4U] and the recurrent kernel [U, 4U].
        bias: float32[4U].

    Raises:
        ValueError: the shapes do not fit together.
    """
    rows, units = hidden.shape
    _check(len(inputs) == rows and cell.shape == (rows, units) and len(bias) == 4 * units)
    padded = round_up(rows, ROWS)
    read, state = np.zeros((padded, inputs.shape[1]), np.float32), np.zeros((padded, units), np.float32)
    work = np.zeros((padded, round_up(4 * units, COLUMNS)), np.float32)
    new_hidden, new_cell = np.empty((rows, units), np.float32), np.empty((rows, units), np.float32)
    for b in range(rows):
        _copy(inputs[b], read[b])
        _copy(hidden[b], state[b])
        _copy(cell[b], new_cell[b])
        _copy(bias, work[b, : 4 * units])
    add_product(work, read, kernel)
    add_product(work, state, recurrent)
    for b in range(rows):
        _step(work[b], new_hidden[b], new_cell[b])
    return new_hidden, new_cell


@njit(cache=True, nogil=True, error_model="numpy")
def dense(inputs: Any, kernel: Any, bias: Any) -> Any:
    """``inputs @ kernel + bias``, float32[B, N]; arguments as of `one_step`."""
    rows, width = len(inputs), len(bias)
    padded = round_up(rows, ROWS)
    read = np.zeros((padded, inputs.shape[1]), np.float32)
    work = np.zeros((padded, round_up(width, COLUMNS)), np.float32)
    out = np.empty((rows, width), np.float32)
    for b in range(rows):
        _copy(inputs[b], read[b])
        _copy(bias, work[b, :width])
    add_product(work, read, kernel)
    for b in range(rows):
        _copy(work[b], out[b])
    return out


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _step(gates: Any, hidden: Any, cell: Any) -> None:
    """One step of one row; ``gates`` before their activations. Everything is replaced by what is after the step."""
    units = len(hidden)
    i, f, c, o = gates[:units], gates[units : 2 * units], gates[2 * units : 3 * units], gates[3 * units : 4 * units]
    # Loops of few arrays each: only of such can the compiler prove that they do not overlap.
    sigmoid(gates[: 2 * units])
    tanh(c)
    sigmoid(o)
    for u in range(units):
        cell[u] = f[u] * cell[u] + i[u] * c[u]
    _copy(cell, hidden)
    tanh(hidden)
    for u in range(units):
        hidden[u] *= o[u]


@njit(cache=True, nogil=True, error_model="numpy")
def backward(
    gates: Any,
    cells: Any,
    first_cell: Any,
    lengths: Any,
    kernel: Any,
    recurrent: Any,
    of_hiddens: Any,
    of_hidden: Any,
    of_cell: Any,
    of_inputs: Any,
    of_gates: Any,
) -> None:
    """Gradients of all steps.

    Args:
        gates, cells, lengths: of `forward`.
        first_cell: float32[B, U], before the first step.
        kernel, recurrent: of `forward`.
        of_hiddens: float32[B, T, U], gradients of the hidden states after each step.
        of_hidden, of_cell: float32[B, U], gradients of the state after the last step; replaced by those of the state
            before the first.
        of_inputs: float32[B, T, F] to write the gradients of the inputs to.
        of_gates: float32[B, T, 4U] to write the gradients of the gates before their activations to.

    Raises:
        ValueError: the shapes do not fit together.
    """
    rows, time, units = of_hiddens.shape
    _check(gates.shape == of_gates.shape == (rows, time, 4 * units) and cells.shape == (rows, time, units))
    _check(first_cell.shape == of_hidden.shape == of_cell.shape == (rows, units) and len(lengths) == rows)
    _check(of_inputs.shape[:2] == (rows, time) and kernel.shape == (of_inputs.shape[2], 4 * units))
    _check(recurrent.shape == (units, 4 * units))
    to_inputs, to_state = panels(kernel.T), panels(recurrent.T)
    padded = round_up(rows, ROWS)
    work = np.zeros((padded, 4 * units), np.float32)
    before = np.zeros((padded, round_up(units, COLUMNS)), np.float32)
    read = np.zeros((padded, round_up(of_inputs.shape[2], COLUMNS)), np.float32)
    squashed = np.zeros(units, np.float32)
    for b in range(rows):
        _copy(of_hidden[b], before[b, :units])
    for t in range(time - 1, -1, -1):
        for b in range(rows):
            _add(of_hiddens[b, t], before[b])
            if t < lengths[b]:
                cell_before = cells[b, t - 1] if t > 0 else first_cell[b]
                _step_back(gates[b, t], cells[b, t], cell_before, before[b, :units], of_cell[b], squashed, work[b])
                before[b] = 0
            # Behind a row's length, where the way back begins, the gradient of its gates is the zero it began with.
            read[b] = 0
            _copy(work[b], of_gates[b, t])
        add_product(before, work, to_state)
        add_product(read, work, to_inputs)
        for b in range(rows):
            _copy(read[b], of_inputs[b, t])
    for b in range(rows):
        _copy(before[b], of_hidden[b])


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _step_back(
    gates: Any, cell: Any, cell_before: Any, of_hidden: Any, of_cell: Any, squashed: Any, of_gates: Any
) -> None:
    """One step of one row: ``of_cell`` becomes that of the cell before, ``of_gates`` is written."""
    units = len(cell)
    i, f, c, o = gates[:units], gates[units : 2 * units], gates[2 * units : 3 * units], gates[3 * units :]
    of_i, of_f = of_gates[:units], of_gates[units : 2 * units]
    of_c, of_o = of_gates[2 * units : 3 * units], of_gates[3 * units :]
    _copy(cell, squashed)
    tanh(squashed)
    for u in range(units):
        of_cell[u] += of_hidden[u] * o[u] * (_one - squashed[u] * squashed[u])
    for u in range(units):
        of_o[u] = of_hidden[u] * squashed[u] * o[u] * (_one - o[u])
    for u in range(units):
        of_i[u] = of_cell[u] * c[u] * i[u] * (_one - i[u])
    for u in range(units):
        of_c[u] = of_cell[u] * i[u] * (_one - c[u] * c[u])
    for u in range(units):
        of_f[u] = of_cell[u] * cell_before[u] * f[u] * (_one - f[u])
    for u in range(units):
        of_cell[u] *= f[u]
