"""Arrays on their way to a GPU, and sums over the GPUs of several ranks."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tomodiff.array import to_numpy
from tomodiff.core.sending import sent
from tomodiff.ranks.nccl import Nccl


def test_parts_arrive_whole_and_in_order(xp: ModuleType, rng: np.random.Generator) -> None:
    """Of growing and shrinking sizes, with work on each that may last until later ones arrive."""
    parts = [rng.random((n, 300, 200), dtype=np.float32) for n in (3, 3, 40, 1, 40, 7)]
    made = [part.sum(0) + 1 for part in sent(iter(parts), xp.asarray)]
    for part, found in zip(parts, made, strict=True):
        np.testing.assert_allclose(to_numpy(found), part.sum(0) + 1, rtol=1e-5)
    assert list(sent(iter([]), xp.asarray)) == []


def test_numbers_are_summed_beside_an_array_by_nccl(xp: ModuleType) -> None:
    """One rank with itself, on a GPU; many are not to be had where this is tested."""
    if xp is np:
        pytest.skip("needs a GPU")
    from cupyx.distributed import NCCLBackend

    a = xp.arange(6, dtype="float32").reshape(2, 3)
    made, (one, two) = Nccl(NCCLBackend(1, 0)).sum(a.T, (1e-17, 2.0))
    assert (to_numpy(made) == np.arange(6).reshape(2, 3).T).all() and (one, two) == (1e-17, 2.0)


class Stand:
    """What stands in for CuPy and NCCL: keeps what it is asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, available: bool = True) -> None:
        self.asked: list[Any] = []
        nccl = SimpleNamespace(available=available, groupStart=self.note("start"), groupEnd=self.note("end"))
        device = SimpleNamespace(Device=lambda: SimpleNamespace(pci_bus_id="0000:01:00.0"), nccl=nccl)
        on_host = SimpleNamespace(get=lambda: np.array([7.0]))
        modules = {
            "cupy": SimpleNamespace(cuda=device, asarray=lambda values, dtype: on_host),
            "cupy.cuda": device, "cupyx": SimpleNamespace(),
            "cupyx.distributed": SimpleNamespace(NCCLBackend=lambda *given, **more: self.backend(given, more)),
        }  # fmt: skip
        for name, module in modules.items():
            monkeypatch.setitem(sys.modules, name, module)

    def note(self, name: str) -> Any:
        return lambda *given: self.asked.append((name, *given))

    def backend(self, given: tuple[Any, ...], more: dict[str, Any]) -> Any:
        self.asked.append((*given, more))
        return SimpleNamespace(all_reduce=lambda a, out: self.asked.append("sum"))


def ranks(*others: Any) -> Any:
    """Rank 0 of some; `others` are what the others say of their GPUs."""
    size = 1 + len(others)
    return SimpleNamespace(
        Get_size=lambda: size, Get_rank=lambda: 0, allgather=lambda own: [own, *(o(own) for o in others)]
    )


def test_gpus_talk_directly_where_every_rank_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    stand = Stand(monkeypatch)
    assert Nccl.between(ranks(lambda own: own)) is None  # one GPU for two
    assert Nccl.between(ranks(lambda own: (False, "other", own[2]))) is None  # no NCCL there
    assert not stand.asked
    made = Nccl.between(ranks(lambda own: (True, "other", own[2])))  # the same slot of another computer
    assert made is not None and stand.asked == [(2, 0, {"use_mpi": True})]
    a = np.ones((2, 2), np.float32)
    assert made.sum(a, (3.0,)) == (a, (7.0,))
    assert stand.asked[1:] == [("start",), "sum", "sum", ("end",)]
    assert made.sum(a)[0] is a and stand.asked[5:] == [("start",), "sum", ("end",)]
