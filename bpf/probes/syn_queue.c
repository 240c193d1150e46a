/* A SYN meets a listener: queued, answered with a cookie, or dropped.
 *
 * Hooks: tcp_conn_request (entry, return), tcp_make_synack (entry). Context: softirq, so that
 * nothing interrupts between entry and return but hard interrupts, which do no TCP. Reads: the
 * listener's queues, the request's tuple, the SYN's headers when there is no request, two sysctls,
 * the kernel's own counters. Emits: SYN_QUEUED, SYN_COOKIE_SENT, SYN_DROPPED. Misses: where those
 * counters can't be found, a queue that was full just when the kernel looked. Since: ever. */

#define SYNACK_NORMAL 0
#define SYNACK_FASTOPEN 1
#define SYNACK_COOKIE 2

/* What is known of the SYN that this CPU is working on. */
struct syn_context {
    u64 listener; /* 0: none */
    u64 skb;
    u32 accept_queue_len;
    u32 accept_queue_limit;
    u32 syn_queue_len;
    u32 is_answered;
    struct tcp_ext before; /* if a queue may have been full */
    struct tcp_ext now;
};

/* Key: 0. Written by tcp_conn_request's entry and tcp_make_synack, ended by its return. */
BPF_PERCPU_ARRAY(syn_contexts, struct syn_context, 1);

static __always_inline struct syn_context *syn_context(void)
{
    u32 key = 0;

    return syn_contexts.lookup(&key);
}

/* Whether a queue was so close to its limit that the kernel may have found it full. */
static __always_inline bool may_have_been_full(struct syn_context *syn)
{
    return may_be_full(syn->syn_queue_len, syn->accept_queue_limit) ||
           may_be_full(syn->accept_queue_len, syn->accept_queue_limit);
}

#ifdef FILTER_PORT
/* A SYN that the filter leaves out by its ports costs no more than this. */
static __always_inline bool is_syn_wanted(bool typed, struct sock *listener, struct sk_buff *skb)
{
    __u32 ports = ports_of_skb(typed, skb);

    if (host_order(ports) == FILTER_PORT || host_order(ports >> 16) == FILTER_PORT)
        return true;
#ifdef LEDGER
    return is_port_wanted(typed, listener);
#else
    return false;
#endif
}
#else
#define is_syn_wanted(typed, listener, skb) true
#endif

static __always_inline int on_conn_request(void *ctx, bool typed, struct sock *listener,
                                           struct sk_buff *skb)
{
    bool is_wanted = is_syn_wanted(typed, listener, skb);
    struct syn_context *syn;
    struct queues q;

    /* A kretprobe may be missed, an fexit may not: that has ended the last SYN's context. */
    if (typed && !is_wanted)
        return 0;
    syn = syn_context();
    if (!syn)
        return 0;
    syn->listener = 0;
    if (!is_wanted)
        return 0;
    syn->listener = (u64)listener;
    listener = as_tcp_sock(typed, listener);
    if (!listener)
        return 0;
    q = queues_of(typed, listener);
    syn->skb = (u64)skb;
    syn->accept_queue_len = q.accept_len;
    syn->accept_queue_limit = q.accept_limit;
    syn->syn_queue_len = q.syn_len;
    syn->is_answered = 0;
    if (may_have_been_full(syn))
        read_tcp_ext(typed, &syn->before, listener);
    return 0;
}

static __always_inline void send_syn(void *ctx, bool typed, u8 kind, struct sock *listener,
                                     void *req)
{
    struct tuple t;
    struct record *r;

    if (!is_owned(listener))
        return;
    tuple_from_mini(typed, &t, req);
    r = begin(kind, &t, kind == KIND_SYN_QUEUED ? req : NULL, listener);
    if (r == FILTERED_OUT)
        return;
    r->new_state = kind == KIND_SYN_QUEUED ? STATE_NEW_SYN_RECV : 0;
    name_cgroup(typed, r, listener);
    name_queues(typed, r, listener);
    commit(ctx, r);
}

/* Also runs when a SYN-ACK leaves again: that answers no packet, so skb is NULL. */
static __always_inline int on_make_synack(void *ctx, bool typed, struct sock *listener, void *req,
                                          int type, struct sk_buff *skb)
{
    struct syn_context *syn = syn_context();

    if (!syn || !syn->listener || syn->skb != (u64)skb || syn->is_answered)
        return 0;
    syn->is_answered = 1;
    listener = as_tcp_sock(typed, listener);
    if (!listener)
        return 0;
    if (type == SYNACK_NORMAL) {
        account_joining(typed, listener, COUNT_SYN_QUEUED, 0);
        send_syn(ctx, typed, KIND_SYN_QUEUED, listener, req);
    } else if (type == SYNACK_COOKIE) {
        account(listener, COUNT_COOKIE_SENT);
        send_syn(ctx, typed, KIND_SYN_COOKIE_SENT, listener, req);
    }
    return 0;
}

/* The kernel passes the SYN queue's check over for a SYN that takes over a TIME_WAIT socket's
 * ports.
 */
static __always_inline bool follows_timewait(struct sk_buff *skb)
{
#ifdef HAVE_tcp_tw_isn
    struct tcp_skb_cb *cb = (struct tcp_skb_cb *)&skb->cb;

    return READ(cb, tcp_tw_isn) != 0;
#else
    return false;
#endif
}

#ifdef HAVE_TCP_EXT
/* What the kernel found full; 0: nothing. */
static __always_inline u8 full_queue(struct syn_context *syn, struct sock *listener, u8 syncookies)
{
    if (!may_have_been_full(syn)) {
        if (syncookies == 2 && !follows_timewait((struct sk_buff *)syn->skb))
            account(listener, COUNT_COOKIE_WANTED_DROPPED);
        return STAGE_NONE;
    }
    read_tcp_ext(false, &syn->now, listener);
    if (syn->now.cookies_wanted != syn->before.cookies_wanted)
        account(listener, COUNT_COOKIE_WANTED_DROPPED);
    if (syn->now.requests_dropped != syn->before.requests_dropped)
        return STAGE_SYN_SYN_QUEUE_FULL;
    if (syn->now.listen_overflows != syn->before.listen_overflows)
        return STAGE_SYN_ACCEPT_QUEUE_FULL;
    return STAGE_NONE;
}
#else
/* The same, judged by the lengths: the kernel looks a moment after the entry, in which another CPU
 * may have filled a queue, so full then or now. An early 5.10 is full at the limit already. */
static __always_inline u8 full_queue(struct syn_context *syn, struct sock *listener, u8 syncookies)
{
    bool is_full = syn->syn_queue_len > syn->accept_queue_limit;
    bool is_full_now = READ(listener, syn_queue_len) > READ(listener, sk_max_ack_backlog);

    if (follows_timewait((struct sk_buff *)syn->skb))
        is_full = is_full_now = false;
    else if (syncookies == 2 || (syncookies && is_full))
        account(listener, COUNT_COOKIE_WANTED_DROPPED);
    if (!syncookies && is_full)
        return STAGE_SYN_SYN_QUEUE_FULL;
    if (syn->accept_queue_len > syn->accept_queue_limit ||
        READ(listener, sk_ack_backlog) > READ(listener, sk_max_ack_backlog))
        return STAGE_SYN_ACCEPT_QUEUE_FULL;
    return !syncookies && is_full_now ? STAGE_SYN_SYN_QUEUE_FULL : STAGE_NONE;
}
#endif

/* The kernel's own order: SYN queue, accept queue, (memory, route,) last quarter. */
static __always_inline u8 stage_of_drop(struct syn_context *syn, struct sock *listener)
{
    struct net *net = net_of(listener);
    u8 syncookies = READ(net, sysctl_tcp_syncookies);
    u8 full = full_queue(syn, listener, syncookies);
    u32 max_syn_backlog;

    if (full)
        return full;
    max_syn_backlog = READ(net, sysctl_max_syn_backlog);
    if (!syncookies && (int)(max_syn_backlog - syn->syn_queue_len) < (int)(max_syn_backlog >> 2))
        return STAGE_SYN_LAST_QUARTER;
    return STAGE_OTHER;
}

static __always_inline int on_conn_request_return(void *ctx, bool typed, void *always_zero)
{
    struct syn_context *syn = syn_context();
    struct sock *listener;
    struct record *r;
    struct tuple t;
    u8 stage;

    if (!syn || !syn->listener)
        return 0;
    listener = (struct sock *)syn->listener;
    syn->listener = 0;
    if (syn->is_answered)
        return 0;
    stage = stage_of_drop(syn, listener);
    account(listener, stage);
    if (!is_owned(listener))
        return 0;
    tuple_from_skb(&t, (struct sk_buff *)syn->skb, listener);
    r = begin(KIND_SYN_DROPPED, &t, NULL, listener);
    if (r == FILTERED_OUT)
        return 0;
    r->stage = stage;
    r->accept_queue_len = syn->accept_queue_len;
    r->accept_queue_limit = syn->accept_queue_limit;
    r->syn_queue_len = syn->syn_queue_len;
    name_cgroup(false, r, listener);
    commit(ctx, r);
    return 0;
}
