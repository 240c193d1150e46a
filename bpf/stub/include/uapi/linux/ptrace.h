/* The registers of a kprobe on x86-64 and arm64, under the names that bcc's PT_REGS_* use. */
#ifndef STUB_UAPI_LINUX_PTRACE_H
#define STUB_UAPI_LINUX_PTRACE_H

#if defined(__aarch64__) || defined(__TARGET_ARCH_arm64)
struct pt_regs {
    unsigned long regs[31];
    unsigned long sp;
    unsigned long pc;
    unsigned long pstate;
};
#else
struct pt_regs {
    unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8;
    unsigned long ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss;
};
#endif

#endif
