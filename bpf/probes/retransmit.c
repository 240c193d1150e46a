/* A SYN or a SYN-ACK leaves again.
 *
 * Hooks: tracepoints tcp:tcp_retransmit_skb and tcp:tcp_retransmit_synack, or the functions
 * tcp_retransmit_skb and tcp_rtx_synack (entry). Context: softirq (timer), rarely process. Reads:
 * the state, the tuple, num_retrans. Emits: SYN_RETRANSMITTED, SYNACK_RETRANSMITTED. Misses: data
 * that is sent again (total_retrans counts it at the next transition); the functions also see an
 * attempt that then fails. Since: 4.16 (tracepoints), ever (functions). */
static __always_inline int on_retransmit(void *ctx, bool typed, struct sock *sk)
{
    u8 state = READ(sk, skc_state);
    struct tuple t;
    struct record *r;

    if ((state != STATE_SYN_SENT && state != STATE_SYN_RECV) || !is_owned(sk))
        return 0;
    tuple_from_sock(false, &t, sk);
    r = begin(KIND_SYN_RETRANSMITTED, &t, sk, NULL);
    if (r == FILTERED_OUT)
        return 0;
    r->new_state = state;
    r->retransmits = READ(sk, total_retrans);
    commit(ctx, r);
    return 0;
}

static __always_inline int on_retransmit_synack(void *ctx, bool typed, struct sock *listener,
                                                struct request_sock *req)
{
    struct tuple t;
    struct record *r;

    if (!is_owned(listener))
        return 0;
    tuple_from_mini(false, &t, req);
    r = begin(KIND_SYNACK_RETRANSMITTED, &t, req, listener);
    if (r == FILTERED_OUT)
        return 0;
    r->new_state = STATE_NEW_SYN_RECV;
    r->retransmits = READ(req, num_retrans);
    name_queues(false, r, listener);
    commit(ctx, r);
    return 0;
}
