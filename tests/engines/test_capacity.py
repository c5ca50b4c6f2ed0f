"""What the machine bears: its memory and cores, or the share of them that a container has."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from claude_code_api.engines.claude_code.capacity import affordable, cores, memory, private_memory

GIB = 2**30
V1 = {"proc/self/cgroup": "4:memory:/docker/abc\n1:cpu,cpuacct:/docker/abc\n0::/docker/abc\n"}


def machine(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


def test_without_control_groups_it_is_the_machines(tmp_path: Path) -> None:
    assert memory(tmp_path) == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 1 <= cores(tmp_path) <= (os.cpu_count() or 1)
    assert 2 <= affordable() <= 32


@pytest.mark.parametrize(
    "files",
    [
        {
            "proc/self/cgroup": "0::/\n",
            "sys/fs/cgroup/memory.max": f"{GIB}\n",
            "sys/fs/cgroup/cpu.max": "50000 100000\n",
        },
        {  # of several groups, one in another, each holds
            "proc/self/cgroup": "0::/system.slice/gateway.service\n",
            "sys/fs/cgroup/system.slice/gateway.service/memory.max": "max\n",
            "sys/fs/cgroup/system.slice/gateway.service/cpu.max": "50000 100000\n",
            "sys/fs/cgroup/system.slice/memory.max": f"{GIB}\n",
            "sys/fs/cgroup/system.slice/cpu.max": "max 100000\n",
        },
        {  # version 1, in a container that sees its own group where the machine's would be
            **V1,
            "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{GIB}\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "50000\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        },
    ],
    ids=["container", "service", "version 1"],
)
def test_in_a_container_it_is_the_containers_share(tmp_path: Path, files: dict[str, str]) -> None:
    root = machine(tmp_path, files)
    assert (memory(root), cores(root)) == (GIB, 0.5)
    assert affordable(root) == 2


@pytest.mark.parametrize(
    "files",
    [
        {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n", "sys/fs/cgroup/cpu.max": "max 100000\n"},
        {
            **V1,
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
        },
        {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "", "sys/fs/cgroup/cpu.max": "nonsense"},
    ],
    ids=["version 2", "version 1", "nonsense"],
)
def test_a_group_without_a_limit_is_none(tmp_path: Path, files: dict[str, str]) -> None:
    nothing = machine(tmp_path / "nothing", {})
    root = machine(tmp_path / "some", files)
    assert (memory(root), cores(root)) == (memory(nothing), cores(nothing))


def test_the_memory_that_a_process_has_for_itself_is_told() -> None:
    before = private_memory(os.getpid())
    held = bytearray(b"x" * 64 * 1024 * 1024)
    assert private_memory(os.getpid()) - before > len(held) // 2
    assert private_memory(2**22 + 1) == 0, "there is no such process"
