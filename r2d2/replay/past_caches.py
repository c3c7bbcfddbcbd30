"""Large copies, past the caches: written to memory as whole lines.

A line that is written in the common way is first read into a cache, to be changed there. For a copy that does not find
its target in the caches this is a third of all that moves, and it drives out what they held. What is read is asked for
early enough, and to be kept no longer than it takes.
"""

from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic

from r2d2.replay.rows import move

BUILT_ON = {"rows.py": "efb483b280bf"}
"""Hash of what is imported here: what is compiled is kept on disk for this file's text alone."""

LEAST_BYTES = 12 << 20
"""Of a copy. Smaller ones may still be in the caches when they are read, from where they come faster."""

LEAST_RUN = 4 << 10
"""Bytes of a run of it, at least a line. Of shorter ones nothing is there in time."""

LINE = 64
"""Bytes that most processors and their memory exchange at once."""

_AHEAD = 48
"""Lines that are asked for before they are needed. The processor does so too, but less far, and into all its caches."""


@njit(cache=True, nogil=True)
def move_past_caches(out: Any, at: int, values: Any, first: int, count: int) -> None:
    """`move` of bytes, uint8[n], past the caches where that is of use; `end_moves` must follow the last of them."""
    if count < LEAST_RUN:
        move(out, at, values, first, count)
        return
    head = -(out.ctypes.data + at) % LINE
    lines = (count - head) // LINE
    tail = head + lines * LINE
    move(out, at, values, first, head)
    _move_lines(out, at + head, values, first + head, lines)
    move(out, at + tail, values, first + tail, count - tail)


@intrinsic
def end_moves(typing_context: Any) -> Any:
    """Have them written before whatever is written next: without it another thread might hear of them too early."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        # What it becomes holds such writes back too, which the compiler does not promise: mfence, a lock, dmb.
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def _move_lines(typing_context: Any, out: Any, at: Any, values: Any, first: Any, lines: Any) -> Any:
    """Move lines of bytes to ``out[at:]``, which must begin one."""
    if {out.dtype, values.dtype} != {types.uint8}:
        raise TypingError("arrays must be of uint8: elements of another size might begin no line")
    byte, flag = ir.IntType(8), ir.IntType(32)
    line, address = ir.VectorType(byte, LINE), byte.as_pointer()
    read, once, data = flag(0), flag(0), flag(1)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        to, source = (
            builder.bitcast(
                builder.gep(
                    context.make_array(signature.args[i])(context, builder, arguments[i]).data, [arguments[i + 1]]
                ),
                line.as_pointer(),
            )
            for i in (0, 2)
        )
        prefetch = ir.FunctionType(ir.VoidType(), [address, flag, flag, flag])
        prefetch = builder.module.declare_intrinsic("llvm.prefetch", [address], prefetch)
        past_caches = builder.module.add_metadata([flag(1)])
        with cgutils.for_range(builder, arguments[4]) as loop:
            ahead = builder.gep(source, [builder.add(loop.index, loop.index.type(_AHEAD))])
            builder.call(prefetch, [builder.bitcast(ahead, address), read, once, data])
            value = builder.load(builder.gep(source, [loop.index]), align=1)
            store = builder.store(value, builder.gep(to, [loop.index]), align=LINE)
            store.set_metadata("nontemporal", past_caches)
        return context.get_dummy_value()

    return types.void(out, at, values, first, lines), generate
