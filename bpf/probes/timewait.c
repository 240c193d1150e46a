/* A TIME_WAIT socket takes over from a full one, changes its sub-state, and goes.
 *
 * Hooks: inet_twsk_hashdance_schedule (on older kernels inet_twsk_hashdance),
 * tcp_timewait_state_process (return, and its first argument) or __inet_twsk_schedule,
 * inet_twsk_kill and inet_twsk_deschedule_put (entry). Context: softirq or process. Reads: tuples,
 * tw_substate. Emits: TIMEWAIT_ENTERED, TIMEWAIT_STATE_CHANGED, TIMEWAIT_RELEASED, TIMEWAIT_KILLED.
 * Misses: nothing. Since: 4.16. */
static __always_inline int on_timewait(void *ctx, bool typed, struct sock *sk,
                                       struct inet_timewait_sock *timewait)
{
    struct tuple t;
    struct record *r;

    if (!is_port_wanted(typed, timewait) || !inherit(timewait, sk))
        return 0;
    tuple_from_mini(typed, &t, timewait);
    r = begin(KIND_TIMEWAIT_ENTERED, &t, timewait, sk);
    if (r == FILTERED_OUT)
        return 0;
    r->old_state = LOAD(typed, sk, skc_state);
    r->new_state = LOAD(typed, timewait, tw_substate);
    commit(ctx, r);
    return 0;
}

static __always_inline int send_timewait(void *ctx, bool typed, u8 kind,
                                         struct inet_timewait_sock *timewait)
{
    struct tuple t;
    struct record *r;

    if (!is_port_wanted(typed, timewait) || !is_owned((struct sock *)timewait))
        return 0;
    tuple_from_mini(typed, &t, timewait);
    r = begin(kind, &t, timewait, NULL);
    if (r == FILTERED_OUT)
        return 0;
    r->new_state = LOAD(typed, timewait, tw_substate);
    commit(ctx, r);
    return 0;
}

#define TCP_TW_ACK 2

/* The peer's FIN has come (FIN_WAIT2 → TIME_WAIT), or another segment is answered. */
static __always_inline int on_timewait_segment(void *ctx, bool typed,
                                               struct inet_timewait_sock *timewait, void *answer)
{
    if ((u32)(u64)answer != TCP_TW_ACK || LOAD(typed, timewait, tw_substate) != STATE_TIME_WAIT)
        return 0;
    return send_timewait(ctx, typed, KIND_TIMEWAIT_STATE_CHANGED, timewait);
}

/* The same for return probes, which know no arguments: such a segment arms it again. */
static __always_inline int on_twsk_schedule(void *ctx, bool typed,
                                            struct inet_timewait_sock *timewait, int rearm)
{
    if (!(rearm & 1) || LOAD(typed, timewait, tw_substate) != STATE_TIME_WAIT)
        return 0;
    return send_timewait(ctx, typed, KIND_TIMEWAIT_STATE_CHANGED, timewait);
}

static __always_inline int on_twsk_release(void *ctx, bool typed,
                                           struct inet_timewait_sock *timewait)
{
    return send_timewait(ctx, typed, KIND_TIMEWAIT_RELEASED, timewait);
}

static __always_inline int on_twsk_kill(void *ctx, bool typed, struct inet_timewait_sock *timewait)
{
    return send_timewait(ctx, typed, KIND_TIMEWAIT_KILLED, timewait);
}
