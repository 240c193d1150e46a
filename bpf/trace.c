/* What every probe shares: the maps, the compiled filter, and the two steps that send a record.
 *
 * The loader joins this file with probes/<subject>.c and the generated entry points into one text,
 * since bcc rewrites map calls only there. It defines: SECRET, RING_PAGES, COUNTERS and, where
 * asked for, FILTER_PORT, FILTER_FAMILY, FILTER_NETNS, FILTER_CIDR (with its words), FILTER_PID,
 * STACKS (with STEXT). */

#define FILTERED_OUT ((struct record *)0)
#define COUNTER_LOST 0      /* + kind */
#define COUNTER_LOST_TOO 32 /* + kind, of a second hook that sends the same kind */
#define COUNTER_HITS 64     /* + number of the hook */

/* Records, to the collector. Written by every probe, drained by the collector through its mapping;
 * when full, the record is not sent and counters[COUNTER_LOST (or _LOST_TOO) + kind] grows. */
BPF_RINGBUF_OUTPUT(events, RING_PAGES);

/* Key: COUNTER_*. Value: a count since loading. Written by the probes, mapped by the collector. */
BPF_F_TABLE("array", u32, u64, counters, COUNTERS, BPF_F_MMAPABLE);

static __always_inline void count(u32 counter)
{
    u64 *value = counters.lookup(&counter);

    if (value)
        __sync_fetch_and_add(value, 1);
}

#ifdef FILTER_PID
/* Key: address of a socket. Value: whether it is the process's. Written at each birth (a reused
 * address is judged anew), read by every probe; the least recently used go first when it is full.
 */
BPF_TABLE("lru_hash", u64, u8, owned, 65536);

/* Key: inode of a socket that the process had open when tracing began. Written by the loader. */
BPF_HASH(open_inodes, u64, u8, OPEN_INODES);

static __always_inline void own(void *object, bool mine)
{
    u64 key = (u64)object;
    u8 value = mine;

    owned.update(&key, &value);
}

static __always_inline bool is_owned(struct sock *sk)
{
    u64 key = (u64)sk;
    u8 *known = owned.lookup(&key);
    struct socket_alloc *socket;
    u64 inode;

    if (known)
        return *known;
    socket = READ(sk, sk_socket);
    if (!socket)
        return false;
    inode = READ(socket, i_ino);
    return open_inodes.lookup(&inode) != NULL;
}

/* For process context: a birth or an accept() by the process makes the socket its own. */
static __always_inline bool own_if_ours(struct sock *sk)
{
    bool mine = bpf_get_current_pid_tgid() >> 32 == FILTER_PID;

    own(sk, mine);
    return mine;
}

/* For accept(): by the process itself, or from a listener of its own by another process. */
static __always_inline bool own_if_ours_too(struct sock *child)
{
    if (bpf_get_current_pid_tgid() >> 32 != FILTER_PID)
        return is_owned(child);
    own(child, true);
    return true;
}

/* An object takes over from another: child from listener, TIME_WAIT socket from socket. */
static __always_inline bool inherit(void *object, struct sock *from)
{
    bool mine = is_owned(from);

    own(object, mine);
    return mine;
}
#else
#define own_if_ours(sk) true
#define own_if_ours_too(child) true
#define is_owned(sk) true
#define inherit(object, from) true
#endif

#ifdef FILTER_PORT
/* Of a remote port and, above it, a local one. The barriers spare LLVM's masks of 64 bits. */
static __always_inline bool is_either_wanted(__u32 ports)
{
    __u64 local = ports >> 16, remote = (__u16)ports;

    asm volatile("" : "+r"(local), "+r"(remote));
    return local == FILTER_PORT || remote == host_order(FILTER_PORT);
}
#endif

/* Whether the filter may want this object, of any kind, by its ports alone: asked first, since it
 * costs next to nothing. A port of 0 is not known, or has been taken back. */
static __always_inline bool is_port_wanted(bool typed, void *object)
{
#ifdef FILTER_PORT
    __u32 ports = LOAD(typed, (struct sock_common *)object, skc_portpair);

    return is_either_wanted(ports) || !(ports >> 16);
#else
    return true;
#endif
}

/* A full TCP socket that the filter may want by its ports, with all its members; NULL if it is
 * none. A port that has been taken back is still in inet_sport. */
static __always_inline struct sock *wanted_tcp_sock(bool typed, struct sock *sk)
{
#ifdef FILTER_PORT
    __u32 ports = LOAD(typed, (struct sock_common *)sk, skc_portpair);

    if (is_either_wanted(ports))
        return tcp_sock_of(typed, sk);
    if (ports >> 16)
        return NULL;
    sk = tcp_sock_of(typed, sk);
    if (!sk)
        return NULL;
#ifdef FILTER_PID
    /* It gets a port later, and an owner now. */
    if (!LOAD(typed, sk, inet_sport))
        return sk;
#endif
    return host_order(LOAD(typed, sk, inet_sport)) == FILTER_PORT ? sk : NULL;
#else
    return tcp_sock_of(typed, sk);
#endif
}

/* The compiled filter: everything of it that is not asked for costs nothing. */
static __always_inline bool is_wanted(const struct tuple *t)
{
#ifdef FILTER_PORT
    if (t->local_port != FILTER_PORT && t->remote_port != FILTER_PORT)
        return false;
#endif
#ifdef FILTER_NETNS
    if (t->netns != FILTER_NETNS)
        return false;
#endif
#ifdef FILTER_FAMILY
    /* By the packets: a mapped address is IPv4 whatever the socket's family. */
    bool is_ipv4 = t->remote[0] == 0 && (t->remote[1] & 0xffffffffULL) == 0xffff0000ULL;

    if (t->remote_port && is_ipv4 != (FILTER_FAMILY == AF_INET))
        return false;
#endif
#ifdef FILTER_CIDR
    bool is_local = (t->local[0] & FILTER_CIDR_MASK_0) == FILTER_CIDR_NET_0 &&
                    (t->local[1] & FILTER_CIDR_MASK_1) == FILTER_CIDR_NET_1;
    bool is_remote = (t->remote[0] & FILTER_CIDR_MASK_0) == FILTER_CIDR_NET_0 &&
                     (t->remote[1] & FILTER_CIDR_MASK_1) == FILTER_CIDR_NET_1;

    if (!is_local && !is_remote && t->remote_port)
        return false;
#endif
    return true;
}

/* An object's name in a record: its address behind the trace's secret, so that none leaks. The
 * verifier forbids arithmetic on the typed pointers of fentry, so the address goes through the
 * record itself. */
static __always_inline void name_object(__u64 *name, const void *object)
{
    volatile __u64 *address = name;

    if (!object)
        return;
    *address = (__u64)object;
    *address = *address ^ SECRET;
}

/* The address behind a name, to be compared. Without the barrier LLVM 19 compares the name with the
 * other address ^ SECRET: arithmetic on a typed pointer again. */
static __always_inline __u64 address_of(__u64 name)
{
    __u64 address = name ^ SECRET;

    asm volatile("" : "+r"(address));
    return address;
}

/* Reserves a record about an object and fills what every kind has. FILTERED_OUT: not wanted, or
 * lost; then counters[lost_at + kind] grows. */
static __always_inline struct record *begin_at(u32 lost_at, u8 kind, const struct tuple *t,
                                               const void *object, const void *origin)
{
    struct record *r;

    if (!is_wanted(t))
        return FILTERED_OUT;
    r = events.ringbuf_reserve(sizeof(struct record));
    if (!r) {
        count(lost_at + kind);
        return FILTERED_OUT;
    }
    __builtin_memset(r, 0, sizeof(*r));
    r->at_ns = bpf_ktime_get_ns();
    name_object(&r->sock, object);
    name_object(&r->origin, origin);
    __builtin_memcpy(r->local, t->local, 16);
    __builtin_memcpy(r->remote, t->remote, 16);
    r->netns = t->netns;
    r->local_port = t->local_port;
    r->remote_port = t->remote_port;
    r->kind = kind;
    r->family = t->family;
    return r;
}

static __always_inline struct record *begin(u8 kind, const struct tuple *t, const void *object,
                                            const void *origin)
{
    return begin_at(COUNTER_LOST, kind, t, object, origin);
}

/* Names the process: only where the hook runs in the context of the one that asked. */
static __always_inline void name_process(struct record *r)
{
    r->pid = bpf_get_current_pid_tgid() >> 32;
    bpf_get_current_comm(&r->comm, sizeof(r->comm));
}

static __always_inline void name_queues(bool typed, struct record *r, struct sock *listener)
{
    struct queues q = queues_of(typed, listener);

    r->accept_queue_len = q.accept_len;
    r->accept_queue_limit = q.accept_limit;
    r->syn_queue_len = q.syn_len;
}

/* Where a full socket was made; half an id would be another one's. */
static __always_inline void name_cgroup(bool typed, struct record *r, struct sock *sk)
{
    __u64 cgroup = cgroup_of(typed, sk);

    r->cgroup = cgroup >> 32 ? 0 : cgroup;
}

static __always_inline void commit(void *ctx, struct record *r)
{
#ifdef STACKS
    int size = bpf_get_stack(ctx, r->stack, sizeof(r->stack), 0);
    int i;

#pragma unroll
    for (i = 0; i < STACK_DEPTH; i++)
        r->stack[i] = i * 8 < size ? r->stack[i] - STEXT : 0;
#endif
    events.ringbuf_submit(r, 0);
}
