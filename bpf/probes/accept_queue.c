/* The final ACK makes a child, which waits in the accept queue until accept() takes it.
 *
 * Hooks: tcp_v4_syn_recv_sock and tcp_v6_syn_recv_sock (entry, return), __inet_csk_reqsk_queue_drop
 * (entry), tcp_req_err (entry: counts alone, in the ledger), inet_csk_accept (return; entry where
 * the return has no arguments and the ledger measures), security_sock_graft (entry). Context:
 * softirq up to accept(), which is in its process. Reads: the listener's queues, tuples, the
 * kernel's own counters. Emits: CHILD_CREATED, ACK_DROPPED, REQUEST_DROPPED, ACCEPTED; state.c adds
 * CHILD_DROPPED, by what is kept here.
 * For an IPv4 packet on an IPv6 socket tcp_v6_syn_recv_sock calls the IPv4 one: the outer counts.
 * Since: ever. */

/* What is known of the final ACK that this CPU is working on. */
struct ack_context {
    u64 listener;
    u64 skb;
    u64 req;   /* 0: none, or its fate is told */
    u64 child; /* 0: none yet, or it was queued at once; stays when it is queued */
    u32 accept_queue_len;
    u32 accept_queue_limit;
    u32 syn_queue_len;
    u32 is_nested;         /* the IPv4 function runs, called by the IPv6 one */
    u64 own_req;           /* where the kernel says whether the child is the request's first;
                            * 0: it has returned */
    struct tcp_ext before; /* if the accept queue may be full */
    struct tcp_ext now;
};

/* Key: 0. Written by syn_recv_sock's entry and return, and by what ends the request. */
BPF_PERCPU_ARRAY(ack_contexts, struct ack_context, 1);

static __always_inline struct ack_context *ack_context(void)
{
    u32 key = 0;

    return ack_contexts.lookup(&key);
}

/* Whether the filter wants this request by its ports: or the ledger, which counts by the
 * listener's.
 */
static __always_inline bool is_request_wanted(bool typed, struct sock *listener, void *req)
{
    if (is_port_wanted(typed, req))
        return true;
#ifdef LEDGER
    return is_port_wanted(typed, listener);
#else
    return false;
#endif
}

static __always_inline int on_syn_recv_sock(void *ctx, bool typed, struct sock *listener,
                                            struct sk_buff *skb, void *req,
                                            const unsigned long *own_req)
{
    bool is_wanted = is_request_wanted(typed, listener, req);
    struct ack_context *ack;
    struct queues q;
    u64 own;

    /* As in on_conn_request. */
    if (typed && !is_wanted)
        return 0;
    ack = ack_context();
    if (!ack)
        return 0;
    own = is_wanted ? argument_at(typed, own_req) : 0;
    if (own && ack->own_req == own && ack->req == (u64)req && ack->skb == (u64)skb) {
        ack->is_nested = 1;
        return 0;
    }
    ack->own_req = 0;
    ack->is_nested = 0;
    ack->req = 0;
    ack->child = 0;
    if (!is_wanted)
        return 0;
    ack->listener = (u64)listener;
    listener = as_tcp_sock(typed, listener);
    if (!listener)
        return 0;
    q = queues_of(typed, listener);
    ack->skb = (u64)skb;
    ack->req = (u64)req;
    ack->accept_queue_len = q.accept_len;
    ack->accept_queue_limit = q.accept_limit;
    ack->syn_queue_len = q.syn_len;
    ack->own_req = own;
    if (may_be_full(ack->accept_queue_len, ack->accept_queue_limit))
        read_tcp_ext(typed, &ack->before, listener);
    return 0;
}

/* Where a record is counted that is lost: of IPv6 apart, as tcp_v6_syn_recv_sock's. */
static __always_inline u32 lost_at(const struct tuple *t)
{
    return t->family == AF_INET6 ? COUNTER_LOST_TOO : COUNTER_LOST;
}

static __always_inline void fill_from_ack(struct record *r, const struct ack_context *ack)
{
    r->accept_queue_len = ack->accept_queue_len;
    r->accept_queue_limit = ack->accept_queue_limit;
    r->syn_queue_len = ack->syn_queue_len;
}

static __always_inline void send_child(void *ctx, bool typed, struct ack_context *ack,
                                       struct sock *child)
{
    struct request_sock *req = (struct request_sock *)ack->req;
    struct syn_context *syn = syn_context();
    struct tuple t;
    struct record *r;
    void *origin;
    u8 flags = 0;

    if (syn && syn->skb == ack->skb && syn->listener == ack->listener)
        flags = FLAG_FASTOPEN;
    else if (!READ(req, rsk_listener))
        flags = FLAG_COOKIE;
    /* Those two are queued at once, the others by inet_csk_complete_hashdance. */
    ack->child = flags ? 0 : (u64)child;
    ack->req = flags ? 0 : ack->req;
    account_joining(false, (struct sock *)ack->listener, COUNT_CHILD_CREATED, 1);
    child = as_tcp_sock(typed, child);
    if (!child || !inherit(child, (struct sock *)ack->listener))
        return;
    tuple_from_sock(typed, &t, child);
    origin = flags ? (void *)ack->listener : (void *)req;
    r = begin_at(lost_at(&t), KIND_CHILD_CREATED, &t, child, origin);
    if (r == FILTERED_OUT)
        return;
    r->new_state = STATE_SYN_RECV;
    fill_from_ack(r, ack);
    r->accept_queue_len++; /* as it joins */
    r->flags = flags;
    name_cgroup(typed, r, child);
    commit(ctx, r);
}

#ifdef HAVE_TCP_EXT
static __always_inline bool was_full(struct ack_context *ack, struct sock *listener)
{
    if (!may_be_full(ack->accept_queue_len, ack->accept_queue_limit))
        return false;
    read_tcp_ext(false, &ack->now, listener);
    return ack->now.listen_overflows != ack->before.listen_overflows;
}
#else
/* The kernel looks a moment after the entry: full then, or now. */
static __always_inline bool was_full(struct ack_context *ack, struct sock *listener)
{
    return ack->accept_queue_len > ack->accept_queue_limit ||
           READ(listener, sk_ack_backlog) > READ(listener, sk_max_ack_backlog);
}
#endif

/* With tcp_abort_on_overflow the kernel answers with a RST and drops the request: that is one drop,
 * at its own stage, and the context stays for the two hooks that see the rest. */
static __always_inline u8 stage_of_ack_drop(struct ack_context *ack, u8 flags)
{
    struct sock *listener = (struct sock *)ack->listener;

    if (!was_full(ack, listener))
        return STAGE_OTHER;
    if (!flags && READ(net_of(listener), sysctl_tcp_abort_on_overflow))
        return STAGE_ABORT_ON_OVERFLOW;
    return STAGE_ACK_ACCEPT_QUEUE_FULL;
}

/* Two CPUs can work on a final ACK each: the second one's child is thrown away again. */
static __always_inline bool is_first_child(const struct ack_context *ack)
{
    u8 own = 0;

    bpf_probe_read_kernel(&own, sizeof(own), (void *)ack->own_req);
    return own;
}

static __always_inline void send_ack_dropped(void *ctx, struct ack_context *ack)
{
    struct sock *listener = (struct sock *)ack->listener;
    struct request_sock *req = (struct request_sock *)ack->req;
    u8 flags = READ(req, rsk_listener) ? 0 : FLAG_COOKIE;
    u8 stage = stage_of_ack_drop(ack, flags);
    struct tuple t;
    struct record *r;

    if (stage != STAGE_ABORT_ON_OVERFLOW)
        ack->req = 0;
    /* A cookie that two CPUs take at once: the second child is no drop, nor counted as one. */
    if (flags && stage == STAGE_OTHER && !is_first_child(ack)) {
        account(listener, COUNT_CHILD_REPEATED);
        return;
    }
    account(listener, stage);
    if (!is_owned(listener))
        return;
    tuple_from_mini(false, &t, req);
    r = begin_at(lost_at(&t), KIND_ACK_DROPPED, &t, req, listener);
    if (r == FILTERED_OUT)
        return;
    r->stage = stage;
    r->flags = flags;
    fill_from_ack(r, ack);
    name_cgroup(false, r, listener);
    commit(ctx, r);
}

static __always_inline int on_syn_recv_sock_return(void *ctx, bool typed, struct sock *child)
{
    struct ack_context *ack = ack_context();

    if (!ack || !ack->own_req)
        return 0;
    if (ack->is_nested) {
        ack->is_nested = 0;
        return 0;
    }
    if (child && !is_first_child(ack)) {
        account((struct sock *)ack->listener, COUNT_CHILD_REPEATED);
        ack->req = 0;
    } else if (child)
        send_child(ctx, typed, ack, child);
    else
        send_ack_dropped(ctx, ack);
    ack->own_req = 0;
    return 0;
}

/* A child closes in SYN_RECV: whether it is this CPU's last one, and was not queued since its
 * listener was closing. */
static __always_inline bool was_never_queued(struct sock *child)
{
    struct ack_context *ack = ack_context();

    if (!ack || ack->child != (u64)child)
        return false;
    ack->child = 0;
    return READ((struct sock *)ack->listener, skc_state) != STATE_LISTEN;
}

/* What is about to end a request, if it is no RST and no timer. */
struct drop_cause {
    u64 at_ns;
    u64 error;
};

/* Key: address of the request. tcp_abort runs in a process, which can change its CPU or be
 * interrupted by another request's end before the drop. Written by tcp_req_err and tcp_abort, taken
 * by __inet_csk_reqsk_queue_drop, which both always call. */
BPF_TABLE("lru_hash", u64, struct drop_cause, drop_causes, 1024);

/* A cause that no drop took, since its probe was missed, is not the address's next request's. */
#define CAUSE_LASTS_NS 1000000000ULL

static __always_inline void expect_drop(void *req, u64 error)
{
    struct drop_cause cause = {.at_ns = bpf_ktime_get_ns(), .error = error};
    u64 key = (u64)req;

    drop_causes.update(&key, &cause);
}

static __always_inline u64 cause_of_drop(void *req)
{
    u64 key = (u64)req, error = 0;
    struct drop_cause *cause = drop_causes.lookup(&key);

    if (!cause)
        return 0;
    if (bpf_ktime_get_ns() - cause->at_ns < CAUSE_LASTS_NS)
        error = cause->error;
    drop_causes.delete(&key);
    return error;
}

/* Runs for every request that leaves the SYN queue: also for the one whose child was just made,
 * which is no loss. */
static __always_inline int on_request_drop(void *ctx, bool typed, struct sock *listener,
                                           struct request_sock *req, int from_timer)
{
    u8 stage = STAGE_REQUEST_RESET;
    struct ack_context *ack;
    struct tuple t;
    struct record *r;
    u64 error;

    if (!is_request_wanted(typed, listener, req))
        return 0;
    ack = ack_context();
    if (ack && ack->child && ack->req == (u64)req) {
        ack->req = 0;
        return 0;
    }
    error = cause_of_drop(req);
    if (LOAD(typed, listener, skc_state) != STATE_LISTEN)
        stage = STAGE_LISTENER_CLOSED;
    else if (from_timer & 1)
        stage = STAGE_REQUEST_EXPIRED;
    account_leaving(false, listener, stage);
    if (!is_owned(listener))
        return 0;
    tuple_from_mini(typed, &t, req);
    r = begin(KIND_REQUEST_DROPPED, &t, req, listener);
    if (r == FILTERED_OUT)
        return 0;
    r->stage = stage;
    r->retransmits = LOAD(typed, req, num_retrans);
    r->error = error;
    name_queues(false, r, listener);
    commit(ctx, r);
    return 0;
}

/* An ICMP error answers the SYN-ACK: the request goes (on_request_drop tells), and the kernel
 * counts it in ListenDrops. Which error it was is not looked at. */
static __always_inline int on_req_err(void *ctx, bool typed, struct request_sock *req, int seq,
                                      int abort)
{
    struct sock *listener = READ(req, rsk_listener);

    if (!(abort & 0xff) || !listener || !is_request_wanted(false, listener, req) ||
        (u32)seq != READ(req, snt_isn))
        return 0;
    expect_drop(req, EHOSTUNREACH);
    account(listener, STAGE_OTHER);
    return 0;
}

/* ss -K, or a BPF program, of a request; a full socket has its sk_err. */
static __always_inline int on_abort(void *ctx, bool typed, struct sock *sk, int error)
{
    struct sock *listener;

    if (READ(sk, skc_state) != STATE_NEW_SYN_RECV)
        return 0;
    listener = READ((struct request_sock *)sk, rsk_listener);
    if (is_request_wanted(false, listener, sk))
        expect_drop(sk, error);
    return 0;
}

/* The accept() that this CPU has just seen return: the graft that follows needs no second record.
 * Key: 0. Written by inet_csk_accept's return, cleared by security_sock_graft. */
struct accept_context {
    u64 child;
    u64 task;
};

BPF_PERCPU_ARRAY(accept_contexts, struct accept_context, 1);

/* If typed, converted by tcp_sock_of or as_tcp_sock. */
static __always_inline void send_accepted(void *ctx, bool typed, struct sock *child, u8 flags)
{
    struct tuple t;
    struct record *r;

    if (!own_if_ours_too(child))
        return;
    tuple_from_sock(typed, &t, child);
    r = begin_at(flags & FLAG_GRAFTED ? COUNTER_LOST_TOO : COUNTER_LOST, KIND_ACCEPTED, &t, child,
                 NULL);
    if (r == FILTERED_OUT)
        return;
    r->flags = flags;
    r->new_state = LOAD(typed, child, skc_state);
    name_process(r);
    name_cgroup(typed, r, child);
    commit(ctx, r);
}

/* For return probes, which know no arguments. Key: the task. Value: the listener whose accept() it
 * called. Written by inet_csk_accept's entry, read by its return; the least recently used go. */
#ifdef LEDGER
BPF_TABLE("lru_hash", u64, u64, accepting_by_task, 16384);

static __always_inline int on_accept(void *ctx, bool typed, struct sock *listener)
{
    u64 task = bpf_get_current_pid_tgid(), value = (u64)listener;

    accepting_by_task.update(&task, &value);
    return 0;
}

static __always_inline void measure_accepting(void)
{
    u64 task = bpf_get_current_pid_tgid();
    u64 *listener = accepting_by_task.lookup(&task);

    if (listener && *listener)
        measure_listener(false, (struct sock *)*listener);
}
#else
#define measure_accepting()
#endif

static __always_inline int on_child_accepted(void *ctx, bool typed, struct sock *child)
{
    struct accept_context *accept;
    u32 key = 0;

    if (!child || !is_port_wanted(typed, child))
        return 0;
    accept = accept_contexts.lookup(&key);
    if (!accept)
        return 0;
    accept->child = (u64)child;
    accept->task = bpf_get_current_pid_tgid();
    child = as_tcp_sock(typed, child);
    if (child)
        send_accepted(ctx, typed, child, 0);
    return 0;
}

static __always_inline int on_accept_return(void *ctx, bool typed, struct sock *child)
{
    measure_accepting();
    return on_child_accepted(ctx, typed, child);
}

static __always_inline int on_accepted(void *ctx, bool typed, struct sock *listener,
                                       struct sock *child)
{
#ifdef LEDGER
    listener = as_tcp_sock(typed, listener);
    if (listener)
        measure_listener(typed, listener);
#endif
    return on_child_accepted(ctx, typed, child);
}

/* Every accepted socket gets its struct socket here, also one whose accept() was blocked since
 * before the trace (no return probe sees that one) or whose return a kretprobe had no room for.
 * Other protocols graft too. A task that moved between CPUs in between sends twice: the first one
 * counts. */
static __always_inline int on_graft(void *ctx, bool typed, struct sock *child)
{
    struct accept_context *accept;
    u32 key = 0;

    if (!is_port_wanted(typed, child))
        return 0;
    accept = accept_contexts.lookup(&key);
    if (!accept)
        return 0;
    if (accept->child == (u64)child && accept->task == bpf_get_current_pid_tgid()) {
        accept->child = 0;
        return 0;
    }
    child = tcp_sock_of(typed, child);
    if (child)
        send_accepted(ctx, typed, child, FLAG_GRAFTED);
    return 0;
}
