/* A sock_diag dump comes across a socket: the collector takes stock.
 *
 * Hook: sock_diag_save_cookie (entry), which every dump calls for each socket, request socket and
 * TIME_WAIT socket. Context: process, the one that reads the dump. Reads: the state, the tuple, a
 * listener's queues and owner. Emits: SEEN, if the collector asks for it; measures listeners.
 * Misses: other namespaces than the dump's. A dump by another process at that moment (ss) only
 * tells the same twice. Since: 4.2.
 *
 * And listen() called again, which changes the limit and nothing else: inet_listen (entry). */
#ifdef LEDGER

static __always_inline void see(void *ctx, struct sock *sk, u8 state, bool is_mini)
{
    struct socket_alloc *socket;
    struct sock *origin = NULL;
    struct tuple t;
    struct record *r;

    if (is_mini)
        tuple_from_mini(false, &t, sk);
    else
        tuple_from_sock(false, &t, sk);
    if (state == STATE_NEW_SYN_RECV)
        origin = READ((struct request_sock *)sk, rsk_listener);
    r = begin(KIND_SEEN, &t, sk, origin);
    if (r == FILTERED_OUT)
        return;
    r->old_state = state;
    r->new_state = state;
    if (state == STATE_TIME_WAIT) {
        r->new_state = READ((struct inet_timewait_sock *)sk, tw_substate);
    } else if (!is_mini) {
        socket = READ(sk, sk_socket);
        r->origin = socket ? READ(socket, i_ino) : 0;
        name_cgroup(false, r, sk);
    } else if (origin) {
        name_cgroup(false, r, origin);
    }
    if (state == STATE_LISTEN)
        name_queues(false, r, sk);
    commit(ctx, r);
}

static __always_inline int on_census(void *ctx, bool typed, struct sock *sk)
{
    u64 census = control_of(CONTROL_CENSUS);
    struct sock_common common;
    struct slot *slot;
    bool is_mini;
    u8 state;

    if (!census)
        return 0;
    bpf_probe_read_kernel(&common, sizeof(common), sk);
    state = common.skc_state;
    if (common.skc_family != AF_INET && common.skc_family != AF_INET6)
        return 0;
    if (state == STATE_CLOSE)
        return 0;
    is_mini = state == STATE_TIME_WAIT || state == STATE_NEW_SYN_RECV;
    if (!is_mini && READ(sk, sk_protocol) != IPPROTO_TCP)
        return 0;
    if (state == STATE_LISTEN) {
        slot = slot_of(sk);
        if (slot && measure(false, slot, sk, 0))
            refresh(slot, sk);
    }
    if (census == CENSUS_ALL)
        see(ctx, sk, state, is_mini);
    return 0;
}

static __always_inline int on_listen(void *ctx, bool typed, struct socket *socket, int limit)
{
    struct sock *sk = READ(socket, sk);
    struct slot *slot;

    if (!sk || READ(sk, skc_state) != STATE_LISTEN)
        return 0;
    slot = slot_of(sk);
    if (slot && slot->sock)
        slot->accept_queue_limit = limit;
    return 0;
}
#endif
