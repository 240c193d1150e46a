/* connect() has chosen its port and is about to send the SYN.
 *
 * Hook: tcp_connect (entry). Context: process. Reads: the tuple. Emits: CONNECT_SENT: the local
 * port is known here for the first time, SYN_SENT was entered without it. Misses: a connect() that
 * fails before (no free port, no route): SYN_SENT → CLOSE alone tells. Since: ever. */
static __always_inline int on_connect(void *ctx, bool typed, struct sock *sk)
{
    struct tuple t;
    struct record *r;

    if (!is_port_wanted(typed, sk))
        return 0;
    sk = as_tcp_sock(typed, sk);
    if (!sk || !own_if_ours(sk))
        return 0;
    tuple_from_sock(typed, &t, sk);
    r = begin(KIND_CONNECT_SENT, &t, sk, NULL);
    if (r == FILTERED_OUT)
        return 0;
    name_process(r);
    name_cgroup(typed, r, sk);
    commit(ctx, r);
    return 0;
}
