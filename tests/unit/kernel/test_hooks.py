"""What carries each hook on which kernel, and the entry points that are written for it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tcptrace.kernel.hooks import (
    KPROBES,
    SUBJECTS,
    Carrier,
    Hook,
    Program,
    choose,
    entry_points,
)

PROBES = Path(__file__).resolve().parents[3] / "bpf/probes"
Arguments = Callable[[str], int | None]


def six(_function: str) -> int:
    return 6


def anything(_function: str) -> bool:
    return True


def nothing(_function: str) -> bool:
    return False


def carriers_of(chosen: list[tuple[Program, ...]], name: str) -> list[tuple[Carrier, ...]]:
    return [
        tuple(program.carrier for program in candidates)
        for candidates in chosen
        if candidates[0].hook.name == name
    ]


def programs_by(attach: str) -> list[Program]:
    chosen, _ = choose(attach, six, anything, ledger=True)
    return [program for candidates in chosen for program in candidates]


def written_in(text: str) -> set[str]:
    """The names of C functions."""
    return set(re.findall(r"^int (\w+)\(", text, re.MULTILINE))


class TestChoice:
    def test_fentry_where_the_kernel_has_it(self) -> None:
        chosen, lacking = choose("fentry", six, anything, stacks=False)
        assert lacking == []
        used = {candidates[0].carrier for candidates in chosen}
        assert used == {Carrier.FENTRY, Carrier.FEXIT, Carrier.RAW_TRACEPOINT}
        # Without one of the others the whole trace is carried by kprobes.
        assert {candidates[0].hook for candidates in chosen if len(candidates) > 1} <= {
            candidates[0].hook for candidates in chosen if candidates[0].hook.optional
        }
        assert carriers_of(chosen, "tcp_abort") == [(Carrier.FENTRY, Carrier.KPROBE)]

    def test_tracepoints_whose_arguments_have_types(self) -> None:
        def tracepoint(name: str) -> int | None:
            return 7 if name == "inet_sock_set_state" else None

        chosen, _ = choose("fentry", six, anything, tracepoint=tracepoint)
        both = (Carrier.TP_BTF, Carrier.RAW_TRACEPOINT)
        assert carriers_of(chosen, "inet_sock_set_state") == [both]
        assert carriers_of(chosen, "tcp_send_reset") == [(Carrier.RAW_TRACEPOINT,)]

    def test_probes_alone_when_asked_for(self) -> None:
        chosen, lacking = choose("kprobe", six, anything, stacks=False)
        assert lacking == []
        assert {program.carrier for candidates in chosen for program in candidates} == set(KPROBES)

    @pytest.mark.parametrize("attach", ["fentry", "kprobe"])
    def test_what_only_the_ledger_needs_is_there_for_it_alone(self, attach: str) -> None:
        def names(*, ledger: bool) -> list[str]:
            chosen, _ = choose(attach, six, anything, ledger=ledger)
            return [candidates[0].hook.name for candidates in chosen]

        without, with_ledger = names(ledger=False), names(ledger=True)
        more = [name for name in with_ledger if name not in without]
        assert set(more) >= {
            "__cookie_v4_check",
            "__cookie_v6_check",
            "cookie_v4_check",
            "cookie_v6_check",
            "inet_listen",
            "sock_diag_save_cookie",
        }
        assert set(without) <= set(with_ledger)
        # A cookie's check returns within its caller's entry: who attaches the return later misses
        # none that it would have to blame on nobody.
        assert with_ledger.index("__cookie_v4_check") < with_ledger.index("cookie_v4_check")

    def test_stacks_want_functions(self) -> None:
        chosen, _ = choose("fentry", six, anything, stacks=True)
        assert not carriers_of(chosen, "inet_sock_set_state")
        assert carriers_of(chosen, "tcp_set_state") == [(Carrier.FENTRY,)]

    @pytest.mark.parametrize(
        ("is_carried", "carriers"),
        [
            (nothing, [(Carrier.KPROBE,), (Carrier.KRETPROBE,)]),
            (anything, [(Carrier.FENTRY,), (Carrier.FEXIT,)]),
        ],
    )
    def test_more_arguments_than_every_trampoline_carries(
        self, is_carried: Callable[[str], bool], carriers: list[tuple[Carrier, ...]]
    ) -> None:
        """Then a probe must do, unless this kernel's carries them."""

        def arguments(function: str) -> int:
            return 7 if function == "tcp_v4_syn_recv_sock" else 6

        chosen, _ = choose("fentry", arguments, anything, is_carried=is_carried)
        assert sorted(carriers_of(chosen, "tcp_v4_syn_recv_sock")) == carriers
        assert sorted(carriers_of(chosen, "tcp_v6_syn_recv_sock")) == [
            (Carrier.FENTRY, Carrier.KPROBE),
            (Carrier.FEXIT, Carrier.KRETPROBE),
        ]

    def test_functions_that_btf_does_not_know_are_probed(self) -> None:
        chosen, lacking = choose("fentry", lambda _name: None, anything, stacks=False)
        assert carriers_of(chosen, "tcp_connect") == [(Carrier.KPROBE,)]
        # The probe of a return has no arguments.
        names = ["tcp_timewait_state_process", "inet_csk_accept", "reuseport_migrate_sock"]
        assert [hook.name for hook in lacking] == names

    @pytest.mark.parametrize("attach", ["fentry", "kprobe"])
    @pytest.mark.parametrize(
        "name", ["inet_twsk_hashdance", "inet_twsk_hashdance_schedule", "inet_twsk_hash"]
    )
    def test_older_kernels_have_another_name_for_it(self, attach: str, name: str) -> None:
        def arguments(function: str) -> int | None:
            return 3 if "hashdance" not in function or function == name else None

        def is_symbol(function: str) -> bool:
            return arguments(function) is not None

        chosen, lacking = choose(attach, arguments, is_symbol)
        names = {candidates[0].hook.name for candidates in chosen}
        found = {name for name in names if "hashdance" in name}
        assert found == ({name} if "dance" in name else set())
        assert ("TIME_WAIT" in [hook.tells for hook in lacking if not hook.optional]) != bool(found)

    def test_what_the_kernel_has_not_is_lacking(self) -> None:
        def arguments(function: str) -> int | None:
            return None if function == "__inet_csk_reqsk_queue_drop" else 6

        chosen, lacking = choose("fentry", arguments, nothing, stacks=False)
        assert [hook.name for hook in lacking] == ["__inet_csk_reqsk_queue_drop"]
        assert lacking[0].optional
        assert not carriers_of(chosen, "__inet_csk_reqsk_queue_drop")

    @pytest.mark.parametrize("attach", ["fentry", "kprobe"])
    def test_numbers_are_places_in_the_order_of_attaching(self, attach: str) -> None:
        chosen, _ = choose(attach, six, anything, stacks=False)
        assert [candidates[0].number for candidates in chosen] == [*range(len(chosen))]

    @pytest.mark.parametrize("attach", ["fentry", "kprobe"])
    def test_births_are_hooked_last(self, attach: str) -> None:
        """A life whose beginning is seen has all its later hooks in place."""
        names = [
            candidates[0].hook.name for candidates in choose(attach, six, anything, stacks=False)[0]
        ]
        assert names.index("tcp_conn_request") > names.index("inet_csk_accept")
        assert names[-1] == "tcp_connect"
        assert names.index("inet_csk_accept") > names.index("inet_twsk_kill")


class TestEntryPoints:
    RETURN = Hook("f", "on_f", ("*0", "2"), "", returns=True)
    ENTRY = Hook("f", "on_f", ("*0", "2"), "")

    @pytest.mark.parametrize(
        ("hook", "carrier", "signature", "call"),
        [
            (
                ENTRY,
                Carrier.FENTRY,
                "int by_fentry_f(unsigned long long *ctx)",
                "on_f(ctx, true, (void *)ctx[0], (int)ctx[2])",
            ),
            (
                RETURN,
                Carrier.FEXIT,
                "int by_fexit_f(unsigned long long *ctx)",
                "on_f(ctx, true, (void *)ctx[0], (int)ctx[2], (void *)ctx[5])",
            ),
            (
                ENTRY,
                Carrier.KPROBE,
                "int by_kprobe_f(struct pt_regs *ctx)",
                "on_f(ctx, false, (void *)PT_REGS_PARM1(ctx), (int)PT_REGS_PARM3(ctx))",
            ),
            (
                Hook("f", "on_f", (), "", returns=True),
                Carrier.KRETPROBE,
                "int by_kretprobe_f(struct pt_regs *ctx)",
                "on_f(ctx, false, (void *)PT_REGS_RC(ctx))",
            ),
            (
                Hook("f", "on_f", ("&3",), ""),
                Carrier.FENTRY,
                "int by_fentry_f(unsigned long long *ctx)",
                "on_f(ctx, true, (void *)&ctx[3])",
            ),
            (
                Hook("f", "on_f", ("&3",), ""),
                Carrier.KPROBE,
                "int by_kprobe_f(struct pt_regs *ctx)",
                "on_f(ctx, false, (void *)&PT_REGS_PARM4(ctx))",
            ),
            (
                Hook("f", "on_f", ("*1",), "", is_tracepoint=True),
                Carrier.RAW_TRACEPOINT,
                "int by_raw_tracepoint_f(struct bpf_raw_tracepoint_args *ctx)",
                "on_f(ctx, false, (void *)ctx->args[1])",
            ),
            (
                Hook("f", "on_f", ("*1",), "", is_tracepoint=True),
                Carrier.TP_BTF,
                "int by_tp_btf_f(unsigned long long *ctx)",
                "on_f(ctx, true, (void *)ctx[1])",
            ),
        ],
    )
    def test_arguments_come_from_where_the_carrier_has_them(
        self, hook: Hook, carrier: Carrier, signature: str, call: str
    ) -> None:
        written, _ = entry_points([Program(hook, carrier, 3)], lambda _name: 5)
        assert written == f"{signature}\n{{\n    return {call};\n}}\n"

    def test_twins_share_a_function(self) -> None:
        text, functions = entry_points(programs_by("kprobe"), six)
        assert written_in(text) == set(functions.values())
        twins = [
            program for program, name in functions.items() if not name.endswith(program.hook.name)
        ]
        assert sorted(f"{program.carrier} {program.hook.name}" for program in twins) == [
            "kprobe cookie_v6_check",
            "kprobe tcp_v4_syn_recv_sock",
            "kprobe tcp_v6_send_reset",
            "kretprobe __cookie_v6_check",
            "kretprobe cookie_v6_check",
            "kretprobe tcp_v4_syn_recv_sock",
        ]

    def test_where_hits_are_counted_each_has_its_own(self) -> None:
        programs = programs_by("kprobe")
        text, functions = entry_points(programs, six, count_hits=True)
        assert written_in(text) == set(functions.values())
        assert len(set(functions.values())) == len(programs)
        for program in programs:
            assert f"    count(COUNTER_HITS + {program.number});\n" in text

    def test_those_that_differ_share_none(self) -> None:
        """As where the kernel's functions take more arguments, behind which is what they return."""
        programs = [
            Program(Hook(name, "on_return", (), "", returns=True), Carrier.FEXIT, number)
            for number, name in enumerate(("short", "long"))
        ]
        _, functions = entry_points(programs, {"short": 3, "long": 4}.get)
        assert [*functions.values()] == ["by_fexit_short", "by_fexit_long"]

    @pytest.mark.parametrize("attach", ["fentry", "kprobe"])
    def test_every_body_is_there_and_takes_what_it_gets(self, attach: str) -> None:
        """Two for ctx and its kind, one for each named, one for what the function returned."""
        source = "\n".join(path.read_text(encoding="utf-8") for path in PROBES.glob("*.c"))
        chosen, _ = choose(attach, six, anything, stacks=False)
        for program, *_rest in chosen:
            hook = program.hook
            found = re.search(rf"static __always_inline int {hook.body}\(([^)]*)\)", source)
            assert found, hook.body
            assert found[1].count(",") == 1 + len(hook.arguments) + hook.returns, hook.body

    def test_return_probes_have_no_arguments(self) -> None:
        """The registers hold something else by then."""
        for subject in SUBJECTS:
            for hook in subject.probed:
                assert not (hook.returns and hook.arguments), hook.name
