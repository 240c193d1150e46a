/* A socket changes its state.
 *
 * Hooks: tracepoint sock:inet_sock_set_state, or tcp_set_state (entry) and, since that doesn't see
 * CLOSE → LISTEN, inet_csk_listen_start (entry, return). Context: process or softirq. Process for
 * CLOSE → SYN_SENT and CLOSE → LISTEN: only there is the process named. Reads: the tuple,
 * sk_protocol, sk_err, total_retrans, the queues of a listener. Emits: STATE_CHANGED,
 * CHILD_DROPPED; opens and closes the listener's slot in the ledger. Misses: that a child was not
 * queued for want of memory, as its request migrated; the clone LISTEN → SYN_RECV is left out on
 * purpose (its tuple isn't filled in before 6.13): CHILD_CREATED tells of it. Since: 4.16
 * (tracepoint), ever (functions). */
static __always_inline void send_state_changed(void *ctx, bool typed, const struct tuple *t,
                                               struct sock *sk, int old, int new)
{
    struct record *r;

    r = begin_at(new == STATE_LISTEN ? COUNTER_LOST_TOO : COUNTER_LOST, KIND_STATE_CHANGED, t, sk,
                 NULL);
    if (r == FILTERED_OUT)
        return;
    r->old_state = old;
    r->new_state = new;
    if (new == STATE_SYN_SENT || new == STATE_LISTEN) {
        name_process(r);
        name_cgroup(typed, r, sk);
    }
    if (new == STATE_LISTEN || old == STATE_LISTEN)
        name_queues(typed, r, sk);
    else
        r->retransmits = LOAD(typed, sk, total_retrans);
    if (new == STATE_CLOSE)
        r->error = LOAD(typed, sk, sk_err);
    commit(ctx, r);
}

static __always_inline void send_child_dropped(void *ctx, const struct tuple *t, struct sock *sk)
{
    struct record *r = begin(KIND_CHILD_DROPPED, t, sk, NULL);

    if (r != FILTERED_OUT)
        commit(ctx, r);
}

static __always_inline int on_state_changed(void *ctx, bool typed, struct sock *sk, int old,
                                            int new)
{
    struct tuple t;

    sk = wanted_tcp_sock(typed, sk);
    if (!sk || old == new || (old == STATE_LISTEN && new == STATE_SYN_RECV))
        return 0;
    if (new == STATE_LISTEN)
        open_slot(sk);
    if (old == STATE_LISTEN)
        close_slot(sk);
    if (new == STATE_SYN_SENT || new == STATE_LISTEN) {
        if (!own_if_ours(sk))
            return 0;
    } else if (!is_owned(sk)) {
        return 0;
    }
    tuple_from_sock(typed, &t, sk);
    send_state_changed(ctx, typed, &t, sk, old, new);
    if (old == STATE_SYN_RECV && new == STATE_CLOSE && was_never_queued(sk))
        send_child_dropped(ctx, &t, sk);
    return 0;
}

static __always_inline int on_set_state(void *ctx, bool typed, struct sock *sk, int new)
{
    return on_state_changed(ctx, typed, sk, LOAD(typed, sk, skc_state), new);
}

/* Key: the task. Value: the socket on which it called listen(). Written by inet_csk_listen_start's
 * entry, deleted by its return. When full, a listen() that then fails is told as one that lasts. */
BPF_HASH(listening_by_task, u64, u64, 1024);

static __always_inline int on_listen_start(void *ctx, bool typed, struct sock *sk)
{
    u64 task = bpf_get_current_pid_tgid(), value = (u64)sk;

    listening_by_task.update(&task, &value);
    return on_state_changed(ctx, typed, sk, STATE_CLOSE, STATE_LISTEN);
}

/* The port was taken in between: it never listened. */
static __always_inline int on_listen_start_return(void *ctx, bool typed, void *result)
{
    u64 task = bpf_get_current_pid_tgid();
    u64 *sk = listening_by_task.lookup(&task);
    u64 socket;

    if (!sk)
        return 0;
    socket = *sk;
    listening_by_task.delete(&task);
    if ((u32)(u64)result)
        return on_state_changed(ctx, false, (struct sock *)socket, STATE_LISTEN, STATE_CLOSE);
    return 0;
}
