/* No code here depends on a version: features are looked for. bcc's preamble wants a number. */
#ifndef STUB_LINUX_VERSION_H
#define STUB_LINUX_VERSION_H
#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))
#define LINUX_VERSION_CODE KERNEL_VERSION(5, 10, 0)
#endif
