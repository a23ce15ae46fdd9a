// xstate.c: lets User Mode Linux run on CPUs with AMX. Linux takes the vector registers of a traced process only as a
// whole (xstateregs_set in arch/x86/kernel/fpu/regset.c), and with AMX the whole is four times as long as the 2696 bytes
// that UML 6.1 sets (FP_SIZE in arch/x86/um). This library, which is preloaded, adds the rest: zeros, since nothing in
// UML uses AMX.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

typedef long (*ptrace_t)(int, long, void *, void *);

static char whole[65536];
static size_t size; // of the whole; 0 while it is not known

long ptrace(enum __ptrace_request request, ...) {
	static ptrace_t next;
	va_list arguments;
	va_start(arguments, request);
	long pid = va_arg(arguments, long);
	void *addr = va_arg(arguments, void *);
	void *data = va_arg(arguments, void *);
	va_end(arguments);
	if (!next)
		next = (ptrace_t)dlsym(RTLD_NEXT, "ptrace");
	if (request != PTRACE_SETREGSET || addr != (void *)NT_X86_XSTATE)
		return next(request, pid, addr, data);

	// The buffer is static, because UML's stacks are small. No handler may use it meanwhile.
	sigset_t all, before;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	const struct iovec *given = data;
	struct iovec set = *given;
	if (!size) {
		struct iovec get = {whole, sizeof(whole)};
		if (next(PTRACE_GETREGSET, pid, addr, &get) == 0)
			size = get.iov_len;
		memset(whole, 0, sizeof(whole));
	}
	if (set.iov_len < size) {
		memcpy(whole, given->iov_base, given->iov_len);
		set.iov_base = whole;
		set.iov_len = size;
	}
	long result = next(request, pid, addr, &set);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return result;
}
