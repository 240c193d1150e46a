/* The ledger: what each listener's two queues hold, refuse and lose, counted here and not in the
 * collector, so that it stays exact when the ring is full.
 *
 * Joined behind trace.c. The loader defines LEDGER and SLOTS where a command wants it; without, all
 * of it is nothing. The hooks that fill it run in softirq, except for listen(), close() and
 * accept(). A listener that was there before gets its slot at its first event, or when a snapshot
 * finds it. */
#ifdef LEDGER

/* Key: number of a slot; OVERFLOW_SLOT counts for those that found none free. Value: see wire.h.
 * Written by the probes, mapped by the collector. */
BPF_F_TABLE("array", u32, struct slot, slots, SLOTS, BPF_F_MMAPABLE);

/* Numbers of slots nobody uses, the longest unused first, so that a closed listener's figures stay
 * readable for as long as possible. Filled by the loader. */
BPF_QUEUE(free_slots, u32, SLOTS);

/* Key: address of a listener. Value: number of its slot. Written when a slot is taken; stays after
 * the listener's end, since its request sockets outlive it, and goes when the slot is taken anew.
 */
BPF_HASH(slot_by_listener, u64, u32, 2 * SLOTS);

#define CONTROL_EPOCH 0     /* grows each time that the collector reads the peaks */
#define CONTROL_CENSUS 1    /* CENSUS_*: what sock_diag_save_cookie is to tell */
#define CONTROL_MIGRATION 2 /* whether migration.c's hooks are attached */
#define CONTROLS 3
#define CENSUS_LISTENERS 1
#define CENSUS_ALL 2

/* Key: CONTROL_*. Written by the loader as it attaches, then by the collector through its mapping;
 * read by the probes. */
BPF_F_TABLE("array", u32, u64, control, CONTROLS, BPF_F_MMAPABLE);

#define barrier() asm volatile("" ::: "memory")

static __always_inline u64 control_of(u32 what)
{
    u64 *value = control.lookup(&what);

    return value ? *value : 0;
}

/* A peak carries its epoch above it, so that a new epoch's first length beats every older one. Two
 * CPUs may write at once: look again. */
static __always_inline void raise_peak(volatile u64 *peak, u64 value)
{
    int i;

#pragma unroll
    for (i = 0; i < 2; i++)
        if (*peak < value)
            *peak = value;
}

/* What may change without an event: the sysctls, an option, and the port of a listener that never
 * bound. */
static __always_inline void refresh(struct slot *slot, struct sock *listener)
{
    struct net *net = net_of(listener);

    slot->syncookies = READ(net, sysctl_tcp_syncookies);
    slot->max_syn_backlog = READ(net, sysctl_max_syn_backlog);
    slot->somaxconn = READ(net, sysctl_somaxconn);
    slot->defer_accept = READ(listener, defer_accept);
    slot->port = host_order(READ(listener, inet_sport));
}

/* Not OVERFLOW_SLOT, which is many listeners', nor a slot that is given back: false. */
static __always_inline bool measure(bool typed, struct slot *slot, struct sock *listener,
                                    u32 joining)
{
    u64 epoch = control_of(CONTROL_EPOCH);
    u32 parity = epoch & 1;
    struct queues q;

    if (!slot->sock || slot->closed_at_ns)
        return false;
    if (!slot->port)
        refresh(slot, listener);
    q = queues_of(typed, listener);
    slot->accept_queue_len = q.accept_len + joining;
    slot->accept_queue_limit = q.accept_limit;
    slot->syn_queue_len = q.syn_len;
    slot->syn_queue_young = q.syn_young;
    raise_peak(&slot->accept_queue_peaks[parity], (epoch << 32) + q.accept_len + joining);
    raise_peak(&slot->syn_queue_peaks[parity], (epoch << 32) + q.syn_len);
    return true;
}

static __always_inline void identify(struct slot *slot, struct sock *listener,
                                     const struct tuple *t)
{
    struct socket_alloc *socket = READ(listener, sk_socket);

    name_object(&slot->sock, listener);
    slot->opened_at_ns = 0;
    slot->closed_at_ns = 0;
    slot->inode = socket ? READ(socket, i_ino) : 0;
    slot->cgroup = cgroup_of(false, listener);
    __builtin_memcpy(slot->local, t->local, 16);
    __builtin_memset(slot->comm, 0, 16);
    slot->netns = t->netns;
    slot->pid = 0;
    slot->family = t->family;
    __builtin_memset(slot->accept_queue_peaks, 0, 16);
    __builtin_memset(slot->syn_queue_peaks, 0, 16);
    __builtin_memset(slot->counts, 0, sizeof(slot->counts));
    refresh(slot, listener);
}

/* The collector may be reading: an odd sequence tells it that this is half written. */
static __always_inline struct slot *take_slot(struct sock *listener, const struct tuple *t)
{
    u64 key = (u64)listener, former_key;
    u32 index = OVERFLOW_SLOT;
    u32 *former;
    struct slot *slot;

    if (free_slots.pop(&index)) {
        index = OVERFLOW_SLOT;
        return slots.lookup(&index);
    }
    slot = slots.lookup(&index);
    if (!slot)
        return NULL;
    former_key = address_of(slot->sock);
    former = slot_by_listener.lookup(&former_key);
    if (former && *former == index)
        slot_by_listener.delete(&former_key);
    slot->sequence++;
    barrier();
    identify(slot, listener, t);
    barrier();
    slot->sequence++;
    if (slot_by_listener.insert(&key, &index)) {
        /* Another CPU was first, or the table is full. */
        slot->closed_at_ns = 1;
        free_slots.push(&index, 0);
        former = slot_by_listener.lookup(&key);
        index = former ? *former : OVERFLOW_SLOT;
        slot = slots.lookup(&index);
    }
    return slot;
}

/* LISTEN → CLOSE: what waits in the accept queue is reset. Where it may migrate instead, that is
 * counted one by one: see migration.c. */
static __always_inline void close_slot(struct sock *listener)
{
    u64 key = (u64)listener;
    u32 *found = slot_by_listener.lookup(&key);
    struct slot *slot;
    u32 index;

    if (!found)
        return;
    index = *found;
    slot = slots.lookup(&index);
    if (!slot || slot->closed_at_ns || index == OVERFLOW_SLOT)
        return;
    if (!control_of(CONTROL_MIGRATION))
        __sync_fetch_and_add(&slot->counts[STAGE_LISTENER_CLOSED], READ(listener, sk_ack_backlog));
    slot->closed_at_ns = bpf_ktime_get_ns();
    free_slots.push(&index, 0);
}

/* A listener that is told to close is in LISTEN for a moment more. */
#define CLOSES_WITHIN_NS 100000000ULL

/* Whether a slot that is found by a listener's address is another one's: of one that was there
 * before, if this one's listen() was not seen (the kernel skips a program that it finds running on
 * the same CPU), or of one that took the slot since, if the address could not be deleted then
 * (since 6.15 a map may refuse while it is busy). */
static __always_inline bool is_others(const struct slot *slot, struct sock *listener)
{
    if (address_of(slot->sock) != (u64)listener)
        return true;
    if (!slot->closed_at_ns || READ(listener, skc_state) != STATE_LISTEN)
        return false;
    return slot->port != host_order(READ(listener, inet_sport)) ||
           slot->netns != READ(net_of(listener), inum) ||
           bpf_ktime_get_ns() - slot->closed_at_ns > CLOSES_WITHIN_NS;
}

/* NULL: the filter leaves this listener out. One that is closed already gets no slot any more,
 * since nobody would give it back. */
static __always_inline struct slot *slot_of(struct sock *listener)
{
    u64 key = (u64)listener;
    u32 *index = slot_by_listener.lookup(&key);
    u32 overflow = OVERFLOW_SLOT;
    struct slot *slot;
    struct tuple t;

    if (index) {
        slot = slots.lookup(index);
        if (!slot || !is_others(slot, listener))
            return slot;
        slot_by_listener.delete(&key);
    }
    tuple_from_sock(false, &t, listener);
    if (!is_wanted(&t))
        return NULL;
    if (READ(listener, skc_state) != STATE_LISTEN)
        return slots.lookup(&overflow);
    slot = take_slot(listener, &t);
    /* Closed by another CPU in between, which found no slot to close. */
    if (READ(listener, skc_state) != STATE_LISTEN)
        close_slot(listener);
    return slot;
}

/* Counts one; NULL: nowhere. */
static __always_inline struct slot *account(struct sock *listener, u32 what)
{
    struct slot *slot = slot_of(listener);

    if (!slot || what >= COUNTS)
        return NULL;
    __sync_fetch_and_add(&slot->counts[what], 1);
    return slot;
}

/* The same, where a queue has just grown by what is counted. */
static __always_inline void account_joining(bool typed, struct sock *listener, u32 what,
                                            u32 joining)
{
    struct slot *slot = account(listener, what);

    if (slot)
        measure(typed, slot, listener, joining);
}

/* The same, where a request is about to leave the SYN queue. */
static __always_inline void account_leaving(bool typed, struct sock *listener, u32 what)
{
    struct slot *slot = account(listener, what);

    if (slot && measure(typed, slot, listener, 0) && slot->syn_queue_len)
        slot->syn_queue_len--;
}

static __always_inline void measure_listener(bool typed, struct sock *listener)
{
    struct slot *slot = slot_of(listener);

    if (slot)
        measure(typed, slot, listener, 0);
}

/* CLOSE → LISTEN, in the context of who called listen(): a new slot, whatever this address was. */
static __always_inline void open_slot(struct sock *listener)
{
    u64 key = (u64)listener;
    struct slot *slot;
    struct tuple t;

    close_slot(listener);
    slot_by_listener.delete(&key);
    tuple_from_sock(false, &t, listener);
    if (!is_wanted(&t))
        return;
    slot = take_slot(listener, &t);
    if (!slot || slot->sock == 0)
        return;
    slot->opened_at_ns = bpf_ktime_get_ns();
    bpf_get_current_comm(&slot->comm, sizeof(slot->comm));
    barrier();
    slot->pid = bpf_get_current_pid_tgid() >> 32;
    measure(false, slot, listener, 0);
}
#else
#define account(listener, what)
#define account_joining(typed, listener, what, joining)
#define account_leaving(typed, listener, what)
#define measure_listener(typed, listener)
#define close_slot(listener)
#define open_slot(listener)
#endif
