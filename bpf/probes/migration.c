/* A listener closes: what it held goes to another one of its reuseport group, or is lost.
 *
 * Hook: reuseport_migrate_sock (return, and its first two arguments; a kretprobe knows no
 * arguments: entry too). The kernel asks it once for each child in the accept queue as the listener
 * closes, and for each request at its next ACK or timer. Context: softirq, or process with softirqs
 * off. Reads: the tuple, the other listener's queues. Emits: MIGRATED. Counts: LISTENER_CLOSED for
 * children that go nowhere. Misses: a child that finds no memory, or a listener that closes too,
 * after that: its own RST tells. Since: 5.14. */
static __always_inline int on_migrated(void *ctx, bool typed, struct sock *listener,
                                       struct sock *moving, struct sock *heir)
{
    bool is_request = READ(moving, skc_state) == STATE_NEW_SYN_RECV;
    struct tuple t;
    struct record *r;

    if (READ(listener, sk_protocol) != IPPROTO_TCP)
        return 0;
    if (!heir) {
        if (!is_request)
            account(listener, STAGE_LISTENER_CLOSED);
        return 0;
    }
    if (!is_owned(is_request ? listener : moving))
        return 0;
    if (is_request)
        tuple_from_mini(false, &t, moving);
    else
        tuple_from_sock(false, &t, moving);
    r = begin(KIND_MIGRATED, &t, moving, heir);
    if (r == FILTERED_OUT)
        return 0;
    r->new_state = READ(moving, skc_state);
    name_queues(false, r, heir);
    commit(ctx, r);
    return 0;
}

struct migration {
    u64 listener;
    u64 moving;
};

/* Key: 0. Written by reuseport_migrate_sock's entry, read by its return. */
BPF_PERCPU_ARRAY(migrations, struct migration, 1);

static __always_inline int on_migrate(void *ctx, bool typed, struct sock *listener,
                                      struct sock *moving)
{
    u32 key = 0;
    struct migration *migration = migrations.lookup(&key);

    if (!migration)
        return 0;
    migration->listener = (u64)listener;
    migration->moving = (u64)moving;
    return 0;
}

static __always_inline int on_migrate_return(void *ctx, bool typed, struct sock *heir)
{
    u32 key = 0;
    struct migration *migration = migrations.lookup(&key);
    struct sock *moving;

    if (!migration || !migration->moving)
        return 0;
    moving = (struct sock *)migration->moving;
    migration->moving = 0;
    return on_migrated(ctx, false, (struct sock *)migration->listener, moving, heir);
}
