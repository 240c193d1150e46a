/* The uapi registers are all that a probe reads. */
#include <uapi/linux/ptrace.h>
