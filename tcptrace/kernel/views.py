"""Writes C *views* of the kernel's structs: the members that the probes read, at their offsets.

The probes then read `sk->sk_ack_backlog` as if they had the kernel's headers. A member that this
kernel lacks and that the probes can do without becomes a missing `HAVE_<member>`; any other is an
error. A view struct gathers members of several kernel structs where these begin at one address
(struct tcp_sock begins with an inet_connection_sock, that with an inet_sock, that with a sock).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from tcptrace.errors import CannotTrace

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tcptrace.kernel.layouts import Layouts


class ViewMember(NamedTuple):
    """A member of a view: its name there, and where the kernel has it.

    Attributes:
        optional: the probes can do without.
        instead_of: the member without which this one is of use.
    """

    name: str
    struct: str
    path: str
    optional: bool = False
    instead_of: str = ""


def _common(struct: str, prefix: str) -> tuple[ViewMember, ...]:
    """The struct sock_common that sockets, request sockets and TIME_WAIT sockets all begin with."""
    plain = ("daddr", "rcv_saddr", "dport", "num", "family", "state", "hash")
    return (
        *(ViewMember(f"skc_{name}", struct, f"{prefix}.skc_{name}") for name in plain),
        ViewMember("skc_portpair", struct, f"{prefix}.skc_portpair"),
        ViewMember("skc_net", struct, f"{prefix}.skc_net.net"),
        ViewMember("skc_v6_daddr", struct, f"{prefix}.skc_v6_daddr", optional=True),
        ViewMember("skc_v6_rcv_saddr", struct, f"{prefix}.skc_v6_rcv_saddr", optional=True),
    )


VIEWS: Final[Mapping[str, tuple[ViewMember, ...]]] = {
    # The part that is read in one go; its members lie within the first 104 bytes of the object.
    "sock_common": _common("sock", "__sk_common"),
    "sock": (
        ViewMember("skc_state", "sock", "__sk_common.skc_state"),
        ViewMember("sk_protocol", "sock", "sk_protocol"),
        ViewMember("sk_err", "sock", "sk_err"),
        ViewMember("sk_ack_backlog", "sock", "sk_ack_backlog"),
        ViewMember("sk_max_ack_backlog", "sock", "sk_max_ack_backlog"),
        ViewMember("sk_socket", "sock", "sk_socket"),
        ViewMember("inet_sport", "inet_sock", "inet_sport"),
        ViewMember("syn_queue_len", "inet_connection_sock", "icsk_accept_queue.qlen"),
        ViewMember("syn_queue_young", "inet_connection_sock", "icsk_accept_queue.young"),
        ViewMember("defer_accept", "inet_connection_sock", "icsk_accept_queue.rskq_defer_accept"),
        ViewMember("sk_cgroup", "sock", "sk_cgrp_data.cgroup", optional=True),
        ViewMember(
            "sk_cgroup_word",
            "sock",
            "sk_cgrp_data.val",
            optional=True,
            instead_of="sk_cgrp_data.cgroup",
        ),
        ViewMember("total_retrans", "tcp_sock", "total_retrans"),
    ),
    "request_sock": (
        ViewMember("num_retrans", "request_sock", "num_retrans"),
        ViewMember("rsk_listener", "request_sock", "__req_common.skc_listener"),
        ViewMember("snt_isn", "tcp_request_sock", "snt_isn"),
    ),
    "inet_timewait_sock": (ViewMember("tw_substate", "inet_timewait_sock", "tw_substate"),),
    "sk_buff": (
        ViewMember("head", "sk_buff", "head"),
        ViewMember("network_header", "sk_buff", "network_header"),
        ViewMember("transport_header", "sk_buff", "transport_header"),
        ViewMember("cb", "sk_buff", "cb"),
    ),
    "tcp_skb_cb": (ViewMember("tcp_tw_isn", "tcp_skb_cb", "tcp_tw_isn", optional=True),),
    "net": (
        ViewMember("inum", "net", "ns.inum"),
        ViewMember("sysctl_tcp_syncookies", "net", "ipv4.sysctl_tcp_syncookies"),
        ViewMember("sysctl_tcp_abort_on_overflow", "net", "ipv4.sysctl_tcp_abort_on_overflow"),
        ViewMember("sysctl_max_syn_backlog", "net", "ipv4.sysctl_max_syn_backlog"),
        ViewMember("sysctl_somaxconn", "net", "core.sysctl_somaxconn"),
        ViewMember("net_statistics", "net", "mib.net_statistics", optional=True),
    ),
    "socket": (ViewMember("sk", "socket", "sk"),),
    "cgroup": (ViewMember("kn", "cgroup", "kn", optional=True),),
    "kernfs_node": (ViewMember("kn_id", "kernfs_node", "id", optional=True),),
    "socket_alloc": (ViewMember("i_ino", "socket_alloc", "vfs_inode.i_ino"),),
}

_POINTERS: Final = frozenset(
    {"skc_net", "rsk_listener", "sk_socket", "head", "sk", "sk_cgroup", "kn", "net_statistics"}
)
_CTYPES: Final = {1: "__u8", 2: "__u16", 4: "__u32", 8: "__u64"}


def render(layouts: Layouts) -> str:
    """Returns the header's text for this kernel.

    Raises:
        CannotTrace: a member that the probes need is not there.
    """
    lines = ["/* Views of this kernel's structs. */"]
    for struct, members in VIEWS.items():
        fields = []
        for member in members:
            found = layouts.member(member.struct, member.path)
            if found is None:
                if member.optional:
                    continue
                raise CannotTrace(
                    f"this kernel's struct {member.struct} has no {member.path}: "
                    "see `tcptrace doctor`"
                )
            if member.optional:
                lines.append(f"#define HAVE_{member.name} 1")
            fields.append(_field(member.name, found.offset, found.size))
        lines += [f"struct {struct} {{ union {{", *fields, "}; };"]
    return "\n".join(lines) + "\n"


def _field(name: str, offset: int, size: int) -> str:
    ctype = "void *" if name in _POINTERS else _CTYPES.get(size)
    declared = f"{ctype} {name}" if ctype else f"__u8 {name}[{size}]"
    pad = f"__u8 before_{name}[{offset}]; " if offset else ""
    return f"    struct {{ {pad}{declared}; }} __attribute__((packed));"
