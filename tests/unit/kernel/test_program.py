"""The bpf() calls that are not bcc's."""

from __future__ import annotations

from tcptrace.kernel.program import LoadAttributes


def test_members_lie_where_the_kernel_has_them() -> None:
    """Source: include/uapi/linux/bpf.h, union bpf_attr; a call that errs is only a slower trace."""
    wanted = {
        "prog_type": 0,
        "insn_cnt": 4,
        "insns": 8,
        "license": 16,
        "log_level": 24,
        "log_size": 28,
        "log_buf": 32,
        "kern_version": 40,
        "prog_flags": 44,
        "prog_name": 48,
        "prog_ifindex": 64,
        "expected_attach_type": 68,
        "btf_of_the_program": 72,
        "line_info_cnt": 104,
        "attach_btf_id": 108,
    }
    assert {name: getattr(LoadAttributes, name).offset for name in wanted} == wanted
