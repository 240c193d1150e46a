/* bcc carries a copy of the kernel's linux/bpf.h. */
#include <bcc/bpf.h>
