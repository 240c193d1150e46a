/* What the kernel itself counts (TcpExt in /proc/net/netstat), on this CPU. No maps here.
 *
 * No other packet interrupts a packet's softirq, so what one of these counters grows by from a
 * function's entry to its return is that function's own decision about that packet. The loader
 * defines MIB_* and PER_CPU_VARIABLE (the BTF id of any per-CPU variable), where there is BTF. */
#ifndef TCPTRACE_TCP_EXT_H
#define TCPTRACE_TCP_EXT_H

#if defined(PER_CPU_VARIABLE) && defined(HAVE_net_statistics)
#define HAVE_TCP_EXT 1
#endif

#define PSEUDO_BTF_ID 3 /* BPF_PSEUDO_BTF_ID */

struct tcp_ext {
    __u64 listen_overflows;
    __u64 cookies_wanted;   /* TCPReqQFullDoCookies */
    __u64 requests_dropped; /* TCPReqQFullDrop */
};

#ifdef HAVE_TCP_EXT
static void *(*this_cpu_ptr)(const void *variable) = (void *)154; /* bpf_this_cpu_ptr */

/* How far this CPU's copy of everything per-CPU lies from its address. The verifier forbids
 * arithmetic on the two pointers that tell, so they go through a map's memory. */
static __always_inline __u64 per_cpu_offset(__u64 *scratch)
{
    const void *variable = (const void *)bpf_pseudo_fd(PSEUDO_BTF_ID, PER_CPU_VARIABLE);
    volatile __u64 *address = scratch;
    __u64 here;

    *address = (__u64)this_cpu_ptr(variable);
    here = *address;
    *address = (__u64)variable;
    return here - *address;
}

/* `now` lies in a map. */
static __always_inline void read_tcp_ext(bool typed, struct tcp_ext *now, struct sock *listener)
{
    struct net *net = LOAD(typed, (struct sock_common *)listener, skc_net);
    const __u64 *counts =
        (const __u64 *)((__u64)READ(net, net_statistics) + per_cpu_offset(&now->listen_overflows));

    now->listen_overflows = word_at(counts + MIB_LISTENOVERFLOWS);
#if MIB_TCPREQQFULLDROP == MIB_TCPREQQFULLDOCOOKIES + 1
    bpf_probe_read_kernel(&now->cookies_wanted, 16, counts + MIB_TCPREQQFULLDOCOOKIES);
#else
    now->cookies_wanted = word_at(counts + MIB_TCPREQQFULLDOCOOKIES);
    now->requests_dropped = word_at(counts + MIB_TCPREQQFULLDROP);
#endif
}
#else
static __always_inline void read_tcp_ext(bool typed, struct tcp_ext *now, struct sock *listener)
{
}
#endif

/* Whether a queue may be full by the time that the kernel looks: only then is it worth reading. */
static __always_inline int may_be_full(__u32 len, __u32 limit)
{
    return 2 * len + 16 >= limit;
}

#endif
