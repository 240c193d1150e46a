/* What the kernel itself counts (TcpExt in /proc/net/netstat), on this CPU. No maps here.
 *
 * No other packet interrupts a packet's softirq, so what one of these counters grows by from a
 * function's entry to its return is that function's own decision about that packet. The loader
 * defines PER_CPU_OFFSETS (the address of __per_cpu_offset) and MIB_*, where it knows them. */
#ifndef TCPTRACE_TCP_EXT_H
#define TCPTRACE_TCP_EXT_H

#if defined(PER_CPU_OFFSETS) && defined(HAVE_net_statistics)
#define HAVE_TCP_EXT 1
#endif

struct tcp_ext {
    __u64 listen_overflows;
    __u64 cookies_wanted;   /* TCPReqQFullDoCookies */
    __u64 requests_dropped; /* TCPReqQFullDrop */
};

#ifdef HAVE_TCP_EXT
static __always_inline void read_tcp_ext(struct tcp_ext *now, struct sock *listener)
{
    __u64 counts = (__u64)READ(net_of(listener), net_statistics);

    counts += word_at((const __u64 *)PER_CPU_OFFSETS + bpf_get_smp_processor_id());
    now->listen_overflows = word_at((const __u64 *)counts + MIB_LISTENOVERFLOWS);
    now->cookies_wanted = word_at((const __u64 *)counts + MIB_TCPREQQFULLDOCOOKIES);
    now->requests_dropped = word_at((const __u64 *)counts + MIB_TCPREQQFULLDROP);
}
#else
static __always_inline void read_tcp_ext(struct tcp_ext *now, struct sock *listener)
{
}
#endif

/* Whether a queue may be full by the time that the kernel looks: only then is it worth reading. */
static __always_inline int may_be_full(__u32 len, __u32 limit)
{
    return 2 * len + 16 >= limit;
}

#endif
