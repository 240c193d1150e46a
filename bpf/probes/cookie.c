/* A final ACK carries a SYN cookie, valid or not.
 *
 * Hooks: cookie_v4_check and cookie_v6_check (entry: the listener; return), __cookie_v4_check and
 * __cookie_v6_check (return: the MSS, 0 if the cookie is wrong). Context: softirq. Counts:
 * COOKIE_VALID, COOKIE_INVALID, in the ledger alone. Misses: nothing that the kernel counts; an ACK
 * that comes when no cookie was sent lately is not looked at by the kernel either. Since: 3.x. */
#ifdef LEDGER

/* Key: 0. Value: the listener whose final ACK this CPU looks at. Written by cookie_v4/v6_check's
 * entry, read and cleared by __cookie_v4/v6_check's, cleared by its own return. */
BPF_PERCPU_ARRAY(cookie_listeners, u64, 1);

static __always_inline u64 *cookie_listener(void)
{
    u32 key = 0;

    return cookie_listeners.lookup(&key);
}

static __always_inline int on_cookie_check(void *ctx, bool typed, struct sock *listener)
{
    u64 *asked = cookie_listener();

    if (asked)
        *asked = (u64)listener;
    return 0;
}

/* Others check cookies too (SYNPROXY, XDP): what they find is no listener's. */
static __always_inline int on_cookie_check_return(void *ctx, bool typed, void *result)
{
    u64 *asked = cookie_listener();

    if (asked)
        *asked = 0;
    return 0;
}

static __always_inline int on_cookie_checked(void *ctx, bool typed, void *mss)
{
    u64 *asked = cookie_listener();

    if (!asked || !*asked)
        return 0;
    account((struct sock *)*asked, (u32)(u64)mss ? COUNT_COOKIE_VALID : COUNT_COOKIE_INVALID);
    *asked = 0; /* should the return be missed */
    return 0;
}
#endif
