/* A TIME_WAIT socket takes over from a full one, changes its sub-state, and goes.
 *
 * Hooks: inet_twsk_alloc (return, and its first argument), __inet_twsk_schedule, inet_twsk_kill and
 * inet_twsk_deschedule_put (entry). Context: softirq or process. Reads: tuples, tw_substate. Emits:
 * TIMEWAIT_ENTERED, TIMEWAIT_STATE_CHANGED, TIMEWAIT_RELEASED, TIMEWAIT_KILLED.
 * Misses: nothing when carried by fexit; a kretprobe finds the socket through what the entry left
 * on this CPU, and leaves the record out if another allocation came in between. Since: 4.4. */
static __always_inline int on_timewait(void *ctx, bool typed, struct sock *sk, void *timewait)
{
    struct inet_timewait_sock *mini = timewait;
    struct tuple t;
    struct record *r;

    if (!timewait || !sk || !is_port_wanted(typed, sk))
        return 0;
    if (LOAD(typed, (struct sock_common *)sk, skc_hash) !=
            LOAD(typed, (struct sock_common *)timewait, skc_hash) ||
        LOAD(typed, (struct sock_common *)sk, skc_dport) !=
            LOAD(typed, (struct sock_common *)timewait, skc_dport))
        return 0;
    if (!inherit(timewait, sk))
        return 0;
    tuple_from_object(typed, &t, sk);
    t.local_port = LOAD(typed, (struct sock_common *)timewait, skc_num);
    r = begin(KIND_TIMEWAIT_ENTERED, &t, timewait, sk);
    if (r == FILTERED_OUT)
        return 0;
    r->old_state = LOAD(typed, sk, skc_state);
    r->new_state = LOAD(typed, mini, tw_substate);
    commit(ctx, r);
    return 0;
}

/* For return probes, which know no arguments. Key: 0. Value: the socket that is being replaced on
 * this CPU. Written by inet_twsk_alloc's entry, read by its return. */
BPF_PERCPU_ARRAY(replaced_socks, u64, 1);

static __always_inline int on_twsk_alloc(void *ctx, bool typed, struct sock *sk)
{
    u32 key = 0;
    u64 *replaced = replaced_socks.lookup(&key);

    if (replaced)
        *replaced = (u64)sk;
    return 0;
}

static __always_inline int on_twsk_alloc_return(void *ctx, bool typed, void *timewait)
{
    u32 key = 0;
    u64 *replaced = replaced_socks.lookup(&key);

    return replaced ? on_timewait(ctx, false, (struct sock *)*replaced, timewait) : 0;
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

/* Armed again: the peer's FIN has come (FIN_WAIT2 → TIME_WAIT), or its segment was answered. */
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
