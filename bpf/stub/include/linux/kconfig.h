/* bcc includes this before everything else. It asks for two answers of the kernel's configuration:
 * that BPF is there (the loader has checked) and that functions can be entered through fentry. */
#define CONFIG_BPF_SYSCALL 1
#define CONFIG_FUNCTION_TRACER 1
