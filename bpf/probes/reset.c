/* A RST is sent or received for a socket.
 *
 * Hooks: tracepoints tcp:tcp_send_reset and tcp:tcp_receive_reset, or the functions
 * tcp_v4_send_reset, tcp_v6_send_reset, tcp_send_active_reset and tcp_reset (entry). Context:
 * softirq or process. Reads: the state, the tuple. Emits: RESET_SENT (also for a request socket,
 * when tcp_abort_on_overflow answers its final ACK), RESET_RECEIVED. Misses: RSTs that belong to no
 * socket (a closed port). close() with unread data or linger 0 sets CLOSE before it sends the RST.
 * Since: 4.16, or ever. */
static __always_inline void send_abort_on_overflow(void *ctx, struct sock *listener,
                                                   struct sk_buff *skb)
{
    struct ack_context *ack = ack_context();
    struct tuple t;
    struct record *r;
    void *req;

    if (!ack || !ack->req || ack->child || ack->skb != (u64)skb)
        return;
    req = (void *)ack->req;
    ack->req = 0;
    if (!is_owned(listener))
        return;
    tuple_from_mini(false, &t, req);
    r = begin(KIND_RESET_SENT, &t, req, listener);
    if (r == FILTERED_OUT)
        return;
    r->old_state = STATE_NEW_SYN_RECV;
    fill_from_ack(r, ack);
    commit(ctx, r);
}

static __always_inline void send_reset(void *ctx, u32 lost_at, u8 kind, struct sock *sk, u8 state)
{
    struct tuple t;
    struct record *r;

    if (!is_owned(sk))
        return;
    tuple_from_sock(false, &t, sk);
    r = begin_at(lost_at, kind, &t, sk, NULL);
    if (r == FILTERED_OUT)
        return;
    r->old_state = state;
    commit(ctx, r);
}

static __always_inline int on_reset_sent(void *ctx, bool typed, struct sock *sk,
                                         struct sk_buff *skb)
{
    u8 state;

    if (!sk)
        return 0;
    state = READ(sk, skc_state);
    if (state == STATE_LISTEN)
        send_abort_on_overflow(ctx, sk, skb);
    else if (state != STATE_TIME_WAIT && state != STATE_NEW_SYN_RECV)
        send_reset(ctx, skb ? COUNTER_LOST : COUNTER_LOST_TOO, KIND_RESET_SENT, sk, state);
    return 0;
}

static __always_inline int on_reset_received(void *ctx, bool typed, struct sock *sk)
{
    send_reset(ctx, COUNTER_LOST, KIND_RESET_RECEIVED, sk, READ(sk, skc_state));
    return 0;
}

/* close() with unread data, linger 0, tcp_abort: no packet asked for it. */
static __always_inline int on_active_reset(void *ctx, bool typed, struct sock *sk)
{
    return on_reset_sent(ctx, typed, sk, NULL);
}
