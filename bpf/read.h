/* Reads the tuple of any socket-like object through the views. No maps here. */
#ifndef TCPTRACE_READ_H
#define TCPTRACE_READ_H

#define AF_INET 2
#define AF_INET6 10
#define IPPROTO_TCP 6
#define EHOSTUNREACH 113

/* One scalar member of a kernel object; 0 where the read faults. */
#define READ(object, member)                                                                       \
    ({                                                                                             \
        typeof((object)->member) value_ = 0;                                                       \
        bpf_probe_read_kernel(&value_, sizeof(value_), &(object)->member);                         \
        value_;                                                                                    \
    })

/* The same. A carrier that the verifier knows the arguments' types of is typed: its objects are
 * then loaded from as they lie there, which costs an instruction, not a helper's fifty to a
 * hundred. A fault gives 0 there too. Only members of the object's own type, or of what it was
 * converted to. */
#define LOAD(typed, object, member)                                                                \
    ((typed) ? *(volatile typeof((object)->member) *)((char *)(object) + OFFSET(object, member))   \
             : READ(object, member))

/* The views' members are packed, which would have them loaded byte by byte. */
#define OFFSET(object, member) __builtin_offsetof(typeof(*(object)), member)

static void *(*skc_to_tcp_sock)(const void *object) = (void *)137; /* bpf_skc_to_tcp_sock */

/* A full TCP socket with all its members; NULL if it is none. */
static __always_inline struct sock *tcp_sock_of(bool typed, struct sock *sk)
{
    if (typed)
        return skc_to_tcp_sock(sk);
    return READ(sk, sk_protocol) == IPPROTO_TCP ? sk : NULL;
}

/* The same for one that is known to be a full TCP socket. */
static __always_inline struct sock *as_tcp_sock(bool typed, struct sock *sk)
{
    return typed ? skc_to_tcp_sock(sk) : sk;
}

/* Two numbers, in one go where they lie side by side. */
#define READ_PAIR(object, one, other, to_one, to_other)                                            \
    ({                                                                                             \
        __u32 pair_[2] = {};                                                                       \
        if (&(object)->other == &(object)->one + 1) {                                              \
            bpf_probe_read_kernel(pair_, sizeof(pair_), &(object)->one);                           \
            to_one = pair_[0];                                                                     \
            to_other = pair_[1];                                                                   \
        } else {                                                                                   \
            to_one = READ(object, one);                                                            \
            to_other = READ(object, other);                                                        \
        }                                                                                          \
    })

/* What a listener holds. */
struct queues {
    __u32 accept_len;
    __u32 accept_limit;
    __u32 syn_len;
    __u32 syn_young;
};

/* If typed, converted by as_tcp_sock. */
static __always_inline struct queues queues_of(bool typed, struct sock *listener)
{
    struct queues q;

    if (typed) {
        q.accept_len = LOAD(true, listener, sk_ack_backlog);
        q.accept_limit = LOAD(true, listener, sk_max_ack_backlog);
        q.syn_len = LOAD(true, listener, syn_queue_len);
        q.syn_young = LOAD(true, listener, syn_queue_young);
    } else {
        READ_PAIR(listener, sk_ack_backlog, sk_max_ack_backlog, q.accept_len, q.accept_limit);
        READ_PAIR(listener, syn_queue_len, syn_queue_young, q.syn_len, q.syn_young);
    }
    return q;
}

static __always_inline __u64 word_at(const void *place)
{
    __u64 value = 0;

    bpf_probe_read_kernel(&value, sizeof(value), place);
    return value;
}

/* An argument that points to a number, by its place in the context. Before 5.17 the verifier lets
 * no typed program load such a one. */
static __always_inline __u64 argument_at(bool typed, const unsigned long *place)
{
    return typed ? word_at(place) : *place;
}

/* Addresses as two words each, in the byte order of the packet, IPv4 mapped. */
struct tuple {
    __u64 local[2];
    __u64 remote[2];
    __u32 netns;
    __u16 local_port;
    __u16 remote_port;
    __u8 family;
};

/* The high word of ::ffff:a.b.c.d, as it lies in memory on a little-endian machine. */
static __always_inline __u64 map_ipv4(__u32 address)
{
    return ((__u64)address << 32) | 0xffff0000ULL;
}

static __always_inline __u16 host_order(__u16 port)
{
    return __builtin_bswap16(port);
}

/* The network namespace of any socket-like object. */
static __always_inline struct net *net_of(void *object)
{
    return READ((struct sock_common *)object, skc_net);
}

static __always_inline void copy_address(__u64 to[2], const void *from)
{
    __builtin_memcpy(to, from, 16);
}

/* Everything but the local port, which lies elsewhere in each kind of object. */
static __always_inline void tuple_from_common(struct tuple *t, const struct sock_common *common)
{
    struct net *net = common->skc_net;

    t->family = (__u8)common->skc_family;
#ifdef HAVE_skc_v6_daddr
    if (common->skc_family == AF_INET6) {
        copy_address(t->local, common->skc_v6_rcv_saddr);
        copy_address(t->remote, common->skc_v6_daddr);
    } else
#endif
    {
        t->local[0] = 0;
        t->local[1] = map_ipv4(common->skc_rcv_saddr);
        t->remote[0] = 0;
        t->remote[1] = map_ipv4(common->skc_daddr);
    }
    t->remote_port = host_order(common->skc_dport);
    t->netns = READ(net, inum);
}

/* The same, from an object that the verifier knows the type of. It lets no address of 16 bytes be
 * loaded by words. */
static __always_inline void tuple_from_typed(struct tuple *t, struct sock_common *common)
{
    struct net *net = LOAD(true, common, skc_net);

    t->family = (__u8)LOAD(true, common, skc_family);
#ifdef HAVE_skc_v6_daddr
    if (t->family == AF_INET6) {
        bpf_probe_read_kernel(t->local, sizeof(t->local), &common->skc_v6_rcv_saddr);
        bpf_probe_read_kernel(t->remote, sizeof(t->remote), &common->skc_v6_daddr);
    } else
#endif
    {
        t->local[0] = 0;
        t->local[1] = map_ipv4(LOAD(true, common, skc_rcv_saddr));
        t->remote[0] = 0;
        t->remote[1] = map_ipv4(LOAD(true, common, skc_daddr));
    }
    t->remote_port = host_order(LOAD(true, common, skc_dport));
    t->netns = LOAD(true, net, inum);
}

static __always_inline void tuple_from_object(bool typed, struct tuple *t, void *object)
{
    struct sock_common common;

    if (typed) {
        tuple_from_typed(t, object);
    } else {
        bpf_probe_read_kernel(&common, sizeof(common), object);
        tuple_from_common(t, &common);
        t->local_port = common.skc_num;
    }
}

/* A full socket: inet_sport is its skc_num and outlives it, which tcp_set_state(CLOSE) clears. */
static __always_inline void tuple_from_sock(bool typed, struct tuple *t, struct sock *sk)
{
    tuple_from_object(typed, t, sk);
    if (typed || !t->local_port)
        t->local_port = host_order(LOAD(typed, sk, inet_sport));
}

/* A request socket or a TIME_WAIT socket: ir_num and tw_num are skc_num. */
static __always_inline void tuple_from_mini(bool typed, struct tuple *t, void *mini)
{
    tuple_from_object(typed, t, mini);
    if (typed)
        t->local_port = LOAD(true, (struct sock_common *)mini, skc_num);
}

/* The id of the cgroup (version 2) that a full socket was made in: the inode number of its
 * directory. 0: none, or not known. In early 5.10 the word is a pointer only if its two lowest bits
 * are 0: a socket that net_prio or net_cls (version 1) marks has no cgroup here. */
static __always_inline __u64 cgroup_of(bool typed, struct sock *sk)
{
#if defined(HAVE_kn) && defined(HAVE_kn_id) &&                                                     \
    (defined(HAVE_sk_cgroup) || defined(HAVE_sk_cgroup_word))
#ifdef HAVE_sk_cgroup
    struct cgroup *cgroup = LOAD(typed, sk, sk_cgroup);
#else
    __u64 word = READ(sk, sk_cgroup_word);
    struct cgroup *cgroup = word & 3 ? NULL : (struct cgroup *)word;

    typed = false; /* a number is no pointer */
#endif
    struct kernfs_node *node = cgroup ? LOAD(typed, cgroup, kn) : NULL;

    return node ? LOAD(typed, node, kn_id) : 0;
#else
    return 0;
#endif
}

/* A packet's ports, as they lie in it: the remote one first. */
static __always_inline __u32 ports_of_skb(bool typed, struct sk_buff *skb)
{
    char *head = LOAD(typed, skb, head);
    __u32 ports = 0;

    bpf_probe_read_kernel(&ports, sizeof(ports), head + LOAD(typed, skb, transport_header));
    return ports;
}

/* A SYN that has no object yet: its IP and TCP headers. */
static __always_inline void tuple_from_skb(struct tuple *t, struct sk_buff *skb,
                                           struct sock *listener)
{
    char *head = READ(skb, head);
    char *ip = head + READ(skb, network_header);
    char *tcp = head + READ(skb, transport_header);
    struct sock_common common;
    __u16 ports[2] = {};
    __u32 pair[2] = {};
    __u8 version = 0;

    bpf_probe_read_kernel(&common, sizeof(common), listener);
    bpf_probe_read_kernel(ports, sizeof(ports), tcp);
    bpf_probe_read_kernel(&version, sizeof(version), ip);
    tuple_from_common(t, &common);
    if (version >> 4 == 4) {
        bpf_probe_read_kernel(pair, sizeof(pair), ip + 12);
        t->remote[0] = 0;
        t->remote[1] = map_ipv4(pair[0]);
        t->local[0] = 0;
        t->local[1] = map_ipv4(pair[1]);
    } else {
        bpf_probe_read_kernel(t->remote, sizeof(t->remote), ip + 8);
        bpf_probe_read_kernel(t->local, sizeof(t->local), ip + 24);
    }
    t->remote_port = host_order(ports[0]);
    t->local_port = host_order(ports[1]);
}

#endif
